"""Calls to one account: with the token of the moment, once more with another when that one is refused, and errors by their kind."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from chassis.secret import Secret
from services.integrations.crm.adapter import Access
from services.integrations.crm.errors import Broken, CrmError, RateLimited, Unauthorized
from services.integrations.crm.http_client import Answer, HttpClient

_WAIT_SECONDS = 10.0


class Calls:
    """To the account that an access opens.

    `refusal` says what an answer of 400 to 499 means, as far as CRMs differ in it; `key_header` is where a key of the account's own goes,
    if not where a token does.
    """

    def __init__(
        self,
        http: HttpClient,
        access: Access,
        refusal: Callable[[Answer], CrmError],
        *,
        key_header: str = "",
    ) -> None:
        self._http = http
        self._access = access
        self._refusal = refusal
        self._key_header = key_header if access.is_api_key else ""

    async def send(
        self, method: str, path: str, *, query: Mapping[str, str] | None = None, json: Any = None
    ) -> Answer:
        """The answer, which is a success. Raises the errors of `crm.errors`."""
        token = await self._access.token()
        answer = await self._send(method, path, token, query, json)
        if answer.status == 401:
            # It ended meanwhile, in the middle of whatever it was used for.
            renewed = await self._access.renewed(token)
            answer = await self._send(method, path, renewed, query, json)
        if answer.status < 300:
            return answer
        raise self._error(answer)

    async def _send(
        self, method: str, path: str, token: Secret, query: Mapping[str, str] | None, json: Any
    ) -> Answer:
        headers = (
            {self._key_header: token.reveal()}
            if self._key_header
            else {"Authorization": f"Bearer {token.reveal()}"}
        )
        return await self._http.send(
            method, f"{self._access.base_url}{path}", headers=headers, query=query, json=json
        )

    def _error(self, answer: Answer) -> CrmError:
        if answer.status == 401:
            return Unauthorized()
        if answer.status >= 500 or answer.status in (408, 423):
            wait = answer.retry_after()
            return RateLimited(wait) if wait else Broken(f"The CRM answered {answer.status}.")
        if answer.status >= 400:
            return self._refusal(answer)
        # A redirect: followed, it would take the token somewhere else.
        return Broken(f"The CRM answered {answer.status}.")


def limited(answer: Answer) -> RateLimited:
    """What a 429 asks for, where it names no other limit."""
    wait = answer.retry_after()
    return RateLimited(_WAIT_SECONDS if wait is None else wait)


@contextmanager
def published_form() -> Iterator[None]:
    """Where an answer is taken apart. Raises Broken for one that is not of the form that the CRM publishes."""
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError):
        raise Broken("The CRM answered with JSON of another form than it publishes.") from None


def listed(told: Any) -> list[Any]:
    """Where an answer is to have a list of objects, null in the place of one that is not there. Raises Broken."""
    with published_form():
        if not isinstance(told, list) or not all(each is None or isinstance(each, dict) for each in told):
            raise TypeError
        return told
