"""OAuth 2.0 with a CRM: the authorization code grant with PKCE (RFC 6749 §4.1, RFC 7636), refreshing and revoking."""

import re
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from chassis.secret import Secret
from services.integrations.crm.errors import Broken, RateLimited, Rejected, Unauthorized
from services.integrations.crm.http_client import Answer, HttpClient

_LONGEST_TOKEN = 8192
_WAIT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class App:
    """What the operator has registered with the CRM."""

    client_id: str
    client_secret: Secret


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where a CRM lets its users consent and gives tokens, and how it differs from the others in that."""

    authorize: str
    token: str
    revoke: str
    # What it says of where the account is, of an answer with tokens. Raises Broken.
    base_url: Callable[[Mapping[str, Any]], str]
    # HTTP Basic (RFC 6749 §2.3.1), or in the form.
    is_basic: bool = False


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a code or a refresh token was exchanged for.

    `refresh` is None where the one before stays good. `expires_in` in seconds, None where the CRM does not say.
    """

    access: Secret
    refresh: Secret | None
    expires_in: float | None
    scopes: tuple[str, ...]
    base_url: str


class Authorization:
    """How accounts of one CRM are connected. Errors never hold a code, a token or what was answered but its error code."""

    def __init__(self, http: HttpClient, app: App, endpoints: Endpoints) -> None:
        self._http = http
        self._app = app
        self._endpoints = endpoints

    def url(self, *, state: str, challenge: str, redirect_uri: str, scopes: Sequence[str]) -> str:
        """Where to send somebody to consent. `challenge` is that of S256 (RFC 7636 §4.2)."""
        query = {
            "response_type": "code",
            "client_id": self._app.client_id,
            "redirect_uri": redirect_uri,
            "scope": " ".join(scopes),
            "state": state,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        return f"{self._endpoints.authorize}?{urlencode(query, quote_via=quote)}"

    async def exchange(self, code: Secret, verifier: Secret, redirect_uri: str) -> Tokens:
        """The tokens for a code. Raises Unauthorized where it is not good, or not any more; Rejected, Broken, RateLimited."""
        form = {"code": code.reveal(), "code_verifier": verifier.reveal(), "redirect_uri": redirect_uri}
        return self._tokens(await self._granted({"grant_type": "authorization_code", **form}))

    async def refresh(self, token: Secret) -> Tokens:
        """New ones. Raises Unauthorized once the grant is gone: somebody has to consent again."""
        form = {"grant_type": "refresh_token", "refresh_token": token.reveal()}
        return self._tokens(await self._granted(form))

    async def revoke(self, token: Secret) -> None:
        """Have the refresh token be of no use any more (RFC 7009). One that is not good is gone already."""
        form = {"token": token.reveal(), "token_type_hint": "refresh_token"}
        answer = await self._post(self._endpoints.revoke, form)
        if answer.status in (400, 401, 404) and _error(answer) not in (
            "invalid_client",
            "unauthorized_client",
        ):
            return
        self._require_success(answer)

    async def _granted(self, form: Mapping[str, str]) -> dict[str, Any]:
        answer = await self._post(self._endpoints.token, form)
        self._require_success(answer)
        return answer.object()

    async def _post(self, url: str, form: Mapping[str, str]) -> Answer:
        client = (self._app.client_id, self._app.client_secret.reveal())
        if self._endpoints.is_basic:
            pair = ":".join(quote(part, safe="") for part in client)
            return await self._http.send(
                "POST",
                url,
                form=form,
                headers={"Authorization": f"Basic {b64encode(pair.encode()).decode()}"},
            )
        return await self._http.send(
            "POST", url, form={**form, "client_id": client[0], "client_secret": client[1]}
        )

    def _require_success(self, answer: Answer) -> None:
        if answer.status < 300:
            return
        if answer.status == 429:
            raise RateLimited(answer.retry_after() or _WAIT_SECONDS)
        if answer.status >= 500:
            raise Broken(f"The CRM answered {answer.status} to a request for a token.")
        code = _error(answer)
        if code == "invalid_grant":
            raise Unauthorized(code)
        raise Rejected(code or str(answer.status))

    def _tokens(self, answer: Mapping[str, Any]) -> Tokens:
        access, refresh = _token(answer, "access_token"), _token(answer, "refresh_token")
        if access is None:
            raise Broken("The CRM granted nothing.")
        seconds = answer.get("expires_in")
        return Tokens(
            access,
            refresh,
            float(seconds) if isinstance(seconds, int | float) and seconds > 0 else None,
            _scopes(answer),
            self._endpoints.base_url(answer),
        )


def at(url: str) -> Callable[[Mapping[str, Any]], str]:
    """Every account of the CRM is there."""
    return lambda _: url


def told_by(field: str, domains: Sequence[str], own: str) -> Callable[[Mapping[str, Any]], str]:
    """The answer says where; believed only within the CRM's own domains, or where the operator's settings lead anyway.

    Tokens are sent there: an answer must not be able to lead them, and us, anywhere else.
    """

    def base_url(answer: Mapping[str, Any]) -> str:
        parts = urlsplit(str(answer.get(field, "")))
        host = parts.hostname or ""
        origin = f"{parts.scheme}://{parts.netloc}"
        is_theirs = parts.scheme == "https" and any(host.endswith(f".{domain}") for domain in domains)
        if "@" in parts.netloc or not (is_theirs or origin == _origin(own)):
            raise Broken("The CRM says that the account is at an address that is not the CRM's.")
        return origin

    return base_url


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _token(answer: Mapping[str, Any], name: str) -> Secret | None:
    """It will stand in a header. Raises Broken where it could not."""
    value = answer.get(name)
    if value is None:
        return None
    if (
        not isinstance(value, str)
        or not value.isascii()
        or not value.isprintable()
        or not 0 < len(value) <= _LONGEST_TOKEN
    ):
        raise Broken("The CRM granted something that is no token.")
    return Secret(value)


def _scopes(answer: Mapping[str, Any]) -> tuple[str, ...]:
    """A list, or a string with spaces (RFC 6749 §3.3) or commas, as the CRM has it."""
    told = answer.get("scopes", answer.get("scope", ""))
    names = told if isinstance(told, list) else re.split(r"[ ,]+", str(told or ""))
    return tuple(str(name) for name in names if name)


def _error(answer: Answer) -> str:
    """The error code (RFC 6749 §5.2), if there is one; an answer of another form has none."""
    try:
        code = answer.object().get("error")
    except Broken:
        return ""
    return code if isinstance(code, str) and re.fullmatch(r"[a-z_]{1,64}", code) else ""
