"""Whose account a credential opens: asked once, when it is connected, which also tells whether the credential is good."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from chassis.secret import Secret
from services.integrations.crm.errors import Broken, Forbidden, RateLimited, Rejected, Unauthorized
from services.integrations.crm.http_client import Answer, HttpClient
from services.integrations.crm.records import Account

_WAIT_SECONDS = 10.0
_LONGEST_ID = 100
_LONGEST_NAME = 200


@dataclass(frozen=True, slots=True)
class _Question:
    """Where a CRM tells whose account it is, and how it says so: an id and a name."""

    path: str
    query: Mapping[str, str]
    read: Callable[[Any], tuple[object, object]]
    # In which header a key of the account's own goes; as a bearer token where there is none.
    key_header: str = ""


_QUESTIONS = {
    # https://developers.hubspot.com/docs/api-reference/2026-03/account/account-information/guide
    "hubspot": _Question(
        "/account-info/2026-03/details",
        {},
        lambda told: (told["portalId"], f"{told['uiDomain']}, {told['portalId']}"),
    ),
    # https://developer.salesforce.com/docs/platform/api-rest: the org is a record like others.
    "salesforce": _Question(
        "/services/data/v62.0/query",
        {"q": "SELECT Id, Name FROM Organization"},
        lambda told: (told["records"][0]["Id"], told["records"][0]["Name"]),
    ),
    # https://developers.pipedrive.com/docs/api/v1/Users#getCurrentUser
    "pipedrive": _Question(
        "/api/v1/users/me",
        {},
        lambda told: (told["data"]["company_id"], told["data"]["company_name"]),
        key_header="x-api-token",
    ),
}


async def account_of(
    http: HttpClient, provider: str, base_url: str, credential: Secret, *, is_api_key: bool
) -> Account:
    """The account that a credential opens. Raises the errors of `crm.errors`."""
    question = _QUESTIONS[provider]
    if is_api_key and question.key_header:
        headers = {question.key_header: credential.reveal()}
    else:
        headers = {"Authorization": f"Bearer {credential.reveal()}"}
    answer = await http.send("GET", f"{base_url}{question.path}", headers=headers, query=question.query)
    _require_success(answer)
    try:
        account_id, name = question.read(answer.json())
    except (LookupError, TypeError):
        raise Broken("The CRM does not say whose account it is.") from None
    return Account(str(account_id)[:_LONGEST_ID], str(name)[:_LONGEST_NAME])


def _require_success(answer: Answer) -> None:
    if answer.status == 401:
        raise Unauthorized
    if answer.status == 403:
        raise Forbidden
    if answer.status == 429:
        raise RateLimited(answer.retry_after() or _WAIT_SECONDS)
    if answer.status >= 500:
        raise Broken(f"The CRM answered {answer.status}.")
    if answer.status != 200:
        raise Rejected(str(answer.status))
