import secrets
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator
from dataclasses import dataclass
from hashlib import sha256

import httpx
import pytest
import pytest_asyncio
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from chassis.secret import Secret
from services.integrations.crm.errors import Broken, CrmError, RateLimited, Rejected, Unauthorized
from services.integrations.crm.http_client import HttpClient
from services.integrations.crm.oauth import App, Authorization
from services.integrations.crm.provider import Addresses, Provider
from services.integrations.crm.providers import PROVIDERS
from services.integrations.crm.tests.servers.grants import CLIENT_ID, CLIENT_SECRET, Grants, code_of
from services.integrations.crm.tests.servers.serving import serving

BACK = "https://flownurture.example/v1/integrations/callback"

# Paths and manners as each publishes them; the address of the account is told by two of them.
STYLES = {
    "hubspot": ("/oauth/2026-03/token", "/oauth/2026-03/token/revoke", "/oauth/authorize", ""),
    "salesforce": (
        "/services/oauth2/token",
        "/services/oauth2/revoke",
        "/services/oauth2/authorize",
        "instance_url",
    ),
    "pipedrive": ("/oauth/token", "/oauth/revoke", "/oauth/authorize", "api_domain"),
}


@dataclass
class Connecting:
    provider: Provider
    grants: Grants
    authorization: Authorization
    url: str

    async def consent(self) -> tuple[Secret, Secret]:
        """A code, and the verifier that goes with it."""
        verifier = secrets.token_urlsafe(32)
        challenge = urlsafe_b64encode(sha256(verifier.encode()).digest()).decode().rstrip("=")
        url = self.authorization.url(
            state="st&te", challenge=challenge, redirect_uri=BACK, scopes=self.provider.scopes
        )
        async with httpx.AsyncClient(verify=False) as browser:
            answer = await browser.get(url)
        code, state = code_of(answer.headers["location"])
        assert state == "st&te"
        return Secret(code), Secret(verifier)


@pytest_asyncio.fixture(params=list(PROVIDERS))
async def connecting(request: pytest.FixtureRequest, http: HttpClient) -> AsyncIterator[Connecting]:
    provider = PROVIDERS[request.param]
    token, revoke, authorize, field = STYLES[provider.name]
    grants = Grants({}, is_basic=provider.name == "pipedrive", rotates=True)
    app = Starlette(
        routes=[
            Route(authorize, grants.authorize),
            Route(token, grants.token, methods=["POST"]),
            Route(revoke, grants.revoke, methods=["POST"]),
        ]
    )
    async with serving(app) as url:
        grants.extra = {"scope": "one two", **({field: url} if field else {})}
        addresses = Addresses(url, url, url)
        yield Connecting(
            provider,
            grants,
            provider.authorization(http, App(CLIENT_ID, Secret(CLIENT_SECRET)), addresses),
            url,
        )


async def test_a_code_is_exchanged_for_tokens_once(connecting: Connecting) -> None:
    code, verifier = await connecting.consent()
    tokens = await connecting.authorization.exchange(code, verifier, BACK)
    assert tokens.access.reveal() in connecting.grants.access_tokens
    assert tokens.refresh
    assert tokens.refresh.reveal() in connecting.grants.refresh_tokens
    assert (tokens.expires_in, tokens.scopes, tokens.base_url) == (1800, ("one", "two"), connecting.url)
    with pytest.raises(Unauthorized):
        await connecting.authorization.exchange(code, verifier, BACK)


async def test_a_code_is_of_no_use_to_who_does_not_know_the_verifier(connecting: Connecting) -> None:
    code, _ = await connecting.consent()
    with pytest.raises(Unauthorized):
        await connecting.authorization.exchange(code, Secret("another" * 8), BACK)


async def test_refreshing_gives_the_token_that_replaces_the_one_before(connecting: Connecting) -> None:
    first = await connecting.authorization.exchange(*await connecting.consent(), BACK)
    assert first.refresh
    second = await connecting.authorization.refresh(first.refresh)
    assert second.refresh is not None
    assert second.refresh != first.refresh
    assert second.access != first.access
    with pytest.raises(Unauthorized):
        await connecting.authorization.refresh(first.refresh)


async def test_a_refresh_token_that_is_not_rotated_stays(connecting: Connecting) -> None:
    connecting.grants.rotates = False
    first = await connecting.authorization.exchange(*await connecting.consent(), BACK)
    assert first.refresh
    assert (await connecting.authorization.refresh(first.refresh)).refresh is None


async def test_revoking_is_done_once_and_harmless_twice(connecting: Connecting) -> None:
    tokens = await connecting.authorization.exchange(*await connecting.consent(), BACK)
    assert tokens.refresh
    await connecting.authorization.revoke(tokens.refresh)
    await connecting.authorization.revoke(tokens.refresh)
    assert connecting.grants.revoked == [tokens.refresh.reveal()]
    with pytest.raises(Unauthorized):
        await connecting.authorization.refresh(tokens.refresh)


async def test_secrets_stand_in_no_url_and_no_error(connecting: Connecting) -> None:
    gone = Secret("refresh-of-long-ago")
    with pytest.raises(Unauthorized) as refusal:
        await connecting.authorization.refresh(gone)
    shown = f"{refusal.value!r} {refusal.value} {refusal.value.__cause__} {connecting.grants.urls}"
    assert gone.reveal() not in shown
    assert CLIENT_SECRET not in shown


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Response(status_code=429, headers={"Retry-After": "7"}), RateLimited),
        (Response(status_code=503), Broken),
        (Response("<html>", 200), Broken),
        (JSONResponse({"access_token": 7}), Broken),
        (JSONResponse({"access_token": "with\nanother: header"}), Broken),
        (JSONResponse({"error": "invalid_scope"}, 400), Rejected),
        (Response("<html>", 400), Rejected),
        (Response(status_code=302, headers={"Location": "https://elsewhere.example/"}), Rejected),
    ],
    ids=["slowly", "down", "page", "number", "header", "scope", "page-400", "redirect"],
)
async def test_answers_that_grant_nothing_are_told_apart(
    connecting: Connecting, answer: Response, error: type[CrmError]
) -> None:
    connecting.grants.failures.append(answer)
    with pytest.raises(error):
        await connecting.authorization.refresh(Secret("any"))


@pytest.mark.parametrize(
    "address",
    [
        "https://evil.example",
        "http://acme.my.salesforce.com",
        "https://acme.pipedrive.com@evil.example",
        "https://evilpipedrive.com",
        "https://salesforce.com.evil.example",
        "//acme.my.salesforce.com",
        "",
        None,
    ],
)
async def test_tokens_are_sent_to_no_address_that_is_not_the_crms(
    connecting: Connecting, address: str | None
) -> None:
    field = STYLES[connecting.provider.name][3]
    if not field:
        pytest.skip("its accounts are all at one address")
    connecting.grants.extra[field] = address
    with pytest.raises(Broken):
        await connecting.authorization.exchange(*await connecting.consent(), BACK)


async def test_an_account_at_an_address_of_its_own_is_found_there(connecting: Connecting) -> None:
    field = STYLES[connecting.provider.name][3]
    if not field:
        pytest.skip("its accounts are all at one address")
    own = {"instance_url": "https://acme.my.salesforce.com", "api_domain": "https://acme.pipedrive.com"}[
        field
    ]
    connecting.grants.extra[field] = own
    tokens = await connecting.authorization.exchange(*await connecting.consent(), BACK)
    assert tokens.base_url == own


@pytest.mark.parametrize("provider", list(PROVIDERS.values()), ids=lambda provider: str(provider.name))
def test_every_crm_is_reached_over_https(provider: Provider) -> None:
    public, endpoints = provider.public, provider.endpoints(provider.public)
    reached = (
        public.consent,
        public.tokens,
        public.api,
        endpoints.authorize,
        endpoints.token,
        endpoints.revoke,
    )
    assert all(url.startswith("https://") for url in reached)
