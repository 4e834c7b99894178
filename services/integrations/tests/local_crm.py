"""CRMs on this machine: each with the OAuth of its kind, and one account; HubSpot's has contacts, too."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from services.integrations.crm.tests.servers.grants import CLIENT_ID, CLIENT_SECRET, Grants
from services.integrations.crm.tests.servers.hubspot import HubSpotAccount
from services.integrations.crm.tests.servers.serving import serving

KEY = "pat-na1-0b1c5e"

# Where each gives tokens, which of its answers' fields says where the account is, and where it says whose it is.
_PATHS = {
    "hubspot": (
        "/oauth/2026-03/token",
        "/oauth/2026-03/token/revoke",
        "",
        "/account-info/2026-03/details",
    ),
    "salesforce": (
        "/services/oauth2/token",
        "/services/oauth2/revoke",
        "instance_url",
        "/services/data/v62.0/query",
    ),
    "pipedrive": ("/oauth/token", "/oauth/revoke", "api_domain", "/api/v1/users/me"),
}
_CONSENT = {"salesforce": "/services/oauth2/authorize"}
NAMES = {
    "hubspot": "app-eu1.hubspot.com, 4711",
    "salesforce": "Green Grocer <HQ>",
    "pipedrive": "Green Grocer <HQ>",
}
_ACCOUNTS: dict[str, Any] = {
    "hubspot": {"portalId": 4711, "accountType": "STANDARD", "uiDomain": "app-eu1.hubspot.com"},
    "salesforce": {"totalSize": 1, "done": True, "records": [{"Id": "4711", "Name": "Green Grocer <HQ>"}]},
    "pipedrive": {
        "success": True,
        "data": {"id": 7, "company_id": 4711, "company_name": "Green Grocer <HQ>"},
    },
}


@dataclass
class HeldUpGrants(Grants):
    """Grants of a CRM that can be slow, and that can fail to revoke."""

    failures_of_revoking: list[Response] = field(default_factory=list)
    # How many wait for an answer.
    waiting: int = 0
    _going: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._going.set()

    def hold(self) -> None:
        """Give no tokens until it goes on."""
        self._going.clear()

    def go_on(self) -> None:
        """Answer whoever waits."""
        self._going.set()

    async def token(self, request: Request) -> Response:
        self.waiting += 1
        await self._going.wait()
        self.waiting -= 1
        return await super().token(request)

    async def revoke(self, request: Request) -> Response:
        return (
            self.failures_of_revoking.pop(0) if self.failures_of_revoking else await super().revoke(request)
        )


@dataclass
class LocalCrm:
    """A CRM. `grants` is what was agreed to there; whatever it gave opens `account`, and so does KEY."""

    name: str
    url: str
    grants: HeldUpGrants
    account: Any
    # What is in the account, of HubSpot.
    hubspot: HubSpotAccount
    failures: list[Response] = field(default_factory=list)

    async def agree(self, authorization_url: str) -> str:
        """Agree, as somebody does in a browser; answers where they are sent back to."""
        return await agree(authorization_url)

    def settings(self) -> dict[str, str]:
        """It, as an operator sets it up who has registered an app."""
        return settings_of(self.url)


async def agree(authorization_url: str) -> str:
    """Agree, as somebody does in a browser; answers where they are sent back to."""
    async with httpx.AsyncClient(verify=False) as browser:
        answer = await browser.get(authorization_url)
    return answer.headers["location"]


def settings_of(url: str) -> dict[str, str]:
    """A CRM at this address, as an operator sets it up who has registered an app."""
    return {
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "consent_url": url,
        "tokens_url": url,
        "api_url": url,
    }


@asynccontextmanager
async def granting(name: str, grants: Grants, account: Sequence[BaseRoute]) -> AsyncIterator[str]:
    """A CRM's OAuth before an account that answers by these routes; its address."""
    token, revoke, told_in, _ = _PATHS[name]
    routes = [
        Route(_CONSENT.get(name, "/oauth/authorize"), grants.authorize),
        Route(token, grants.token, methods=["POST"]),
        Route(revoke, grants.revoke, methods=["POST"]),
        *account,
    ]
    async with serving(Starlette(routes=routes)) as url:
        grants.extra = {"scope": "contacts:read contacts:write", **({told_in: url} if told_in else {})}
        yield url


def grants_of(name: str) -> HeldUpGrants:
    """As this CRM gives them."""
    return HeldUpGrants({}, is_basic=name == "pipedrive", rotates=name != "hubspot")


@asynccontextmanager
async def local_crms() -> AsyncIterator[dict[str, LocalCrm]]:
    """One of each kind."""
    async with AsyncExitStack() as stack:
        yield {name: await stack.enter_async_context(_local_crm(name)) for name in _PATHS}


@asynccontextmanager
async def _local_crm(name: str) -> AsyncIterator[LocalCrm]:
    *_, whose = _PATHS[name]
    grants = grants_of(name)
    # Whatever token was given opens it.
    crm = LocalCrm(name, "", grants, _ACCOUNTS[name], HubSpotAccount(tokens=grants.access_tokens))

    async def account(request: Request) -> Response:
        if crm.failures:
            return crm.failures.pop(0)
        if not grants.is_good(request) and _key_shown(name, request) != KEY:
            return JSONResponse({"message": "nobody"}, 401)
        return JSONResponse(crm.account)

    contacts = crm.hubspot.app().routes if name == "hubspot" else []
    async with granting(name, grants, [Route(whose, account), *contacts]) as url:
        crm.url = url
        yield crm


def _key_shown(name: str, request: Request) -> str:
    """As each takes keys of accounts: HubSpot like tokens, Pipedrive in a header of its own."""
    if name == "pipedrive":
        return request.headers.get("x-api-token", "")
    return request.headers.get("authorization", "").removeprefix("Bearer ") if name == "hubspot" else ""
