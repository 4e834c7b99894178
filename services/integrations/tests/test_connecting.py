"""Accounts of CRMs are connected by who agreed there, or by a key: once, by whom it was begun, and with nothing secret in any answer."""

import asyncio
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import replace
from html import escape
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import pytest
from google.protobuf.json_format import MessageToJson
from starlette.responses import JSONResponse, Response

from chassis.context import Role
from chassis.database import RoleDatabase
from chassis.errors import DomainError, InvalidRequest, NotFound, PermissionDenied, Unavailable
from chassis.retention import Forgetting
from flownurture.audit.v1.acts_pb2 import AuditedAct
from flownurture.context.v1.context_pb2 import Actor
from flownurture.integrations.v1 import authorizations_pb2, held_credentials_pb2
from flownurture.integrations.v1 import connections_pb2 as pb
from flownurture.integrations.v1.events_pb2 import ConnectionEstablished, IntegrationActCommitted
from services.integrations.connecting import Connecting
from services.integrations.offers import NotSetUp, Offers
from services.integrations.retention import KEPT
from services.integrations.tests.house import ANYBODY, House, Tenant
from services.integrations.tests.local_crm import KEY, NAMES

PROVIDERS = ["hubspot", "salesforce", "pipedrive"]


@pytest.fixture
def tenant(integrations: House) -> Tenant:
    return integrations.tenant()


def by_key(
    key: str = KEY, provider: pb.Provider.ValueType = pb.PROVIDER_HUBSPOT
) -> pb.CreateConnectionRequest:
    return pb.CreateConnectionRequest(provider=provider, api_key=key)


def said(page: Any) -> str:
    """What a page says, without its marks."""
    return re.sub(r"<[^>]+>|\s+", " ", page.data.decode().split("<main>")[1])


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_who_agrees_at_the_crm_has_connected_the_account(tenant: Tenant, provider: str) -> None:
    page = await tenant.agree(provider)
    assert page.content_type == "text/html; charset=utf-8"
    assert escape(NAMES[provider]) in said(page)
    (connection,) = await tenant.connections()
    assert connection.provider == pb.Provider.Value(f"PROVIDER_{provider.upper()}")
    assert (connection.method, connection.status) == (
        pb.CONNECTION_METHOD_OAUTH,
        pb.CONNECTION_STATUS_ACTIVE,
    )
    assert (connection.account_id, connection.account_name) == ("4711", NAMES[provider])
    assert list(connection.scopes) == ["contacts:read", "contacts:write"]
    assert (connection.connected_by, connection.connected_by_kind) == (
        tenant.context.actor_id,
        pb.CONNECTED_BY_KIND_USER,
    )


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_what_is_asked_of_the_crm_is_pkce_with_a_redirect_of_our_own(
    tenant: Tenant, provider: str
) -> None:
    first, second = [parse_qs(urlsplit(await tenant.begin(provider)).query) for _ in range(2)]
    assert first["code_challenge_method"] == ["S256"]
    assert len(urlsafe_b64decode(first["code_challenge"][0] + "=")) == 32
    assert first["redirect_uri"][0].endswith(f"/v1/integrations/{provider}/callback")
    assert first["redirect_uri"] == second["redirect_uri"]
    assert first["code_challenge"] != second["code_challenge"]
    assert first["state"] != second["state"]


async def test_no_answer_event_or_row_holds_what_it_is_connected_with(tenant: Tenant) -> None:
    page = await tenant.agree("salesforce")
    grants = tenant.house.crms["salesforce"].grants
    await tenant(by_key())
    answers = [
        await tenant(pb.ListConnectionsRequest()),
        await tenant.connection((await tenant.connections())[0].id),
        await tenant(held_credentials_pb2.ListHeldCredentialsRequest()),
    ]
    seen = [page.data.decode(), *map(MessageToJson, answers)]
    for table in ("connections", "credentials", "authorizations", "outbox", "idempotency_keys"):
        for row in await tenant.rows(f"SELECT * FROM {table}"):
            seen += [value.decode("latin-1") if isinstance(value, bytes) else str(value) for value in row]
    secrets = grants.access_tokens | grants.refresh_tokens | {KEY}
    assert len(secrets) == 3
    assert not [secret for secret in secrets if any(secret in text for text in seen)]


@pytest.mark.parametrize("provider", [pb.PROVIDER_HUBSPOT, pb.PROVIDER_PIPEDRIVE])
async def test_a_key_connects_the_account_that_it_opens(
    tenant: Tenant, provider: pb.Provider.ValueType
) -> None:
    made = await tenant(by_key(f" {KEY} ", provider))
    assert (made.method, made.account_id, list(made.scopes)) == (pb.CONNECTION_METHOD_API_KEY, "4711", [])
    assert (await tenant.access(made.id)).is_api_key
    assert (await (await tenant.access(made.id)).token()).reveal() == KEY


async def test_a_key_that_opens_nothing_is_refused_and_not_repeated(tenant: Tenant) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await tenant(by_key("pat-wrong"))
    (violation,) = refused.value.violations
    assert (violation.field, violation.message) == ("api_key", "is not accepted by HubSpot")
    assert await tenant.connections() == []


@pytest.mark.parametrize(
    "failure",
    [
        JSONResponse({}, 500),
        JSONResponse({}, 429),
        JSONResponse({}),
        JSONResponse([]),
        Response("<html>", media_type="text/html"),
    ],
    ids=["fails", "is busy", "says nothing", "says something else", "is a page"],
)
async def test_a_crm_that_does_not_say_whose_account_it_is_connects_none(
    tenant: Tenant, failure: Response
) -> None:
    tenant.house.crms["hubspot"].failures = [failure]
    with pytest.raises(Unavailable):
        await tenant(by_key())
    assert await tenant.connections() == []


async def test_a_crm_without_keys_says_how_it_is_connected(tenant: Tenant) -> None:
    with pytest.raises(InvalidRequest, match="not valid") as refused:
        await tenant(by_key(provider=pb.PROVIDER_SALESFORCE))
    assert refused.value.violations[0].field == "provider"


async def test_an_account_that_is_connected_again_stays_the_same_connection(tenant: Tenant) -> None:
    first = await tenant.connect("hubspot")
    await tenant.execute("UPDATE connections SET status = 'needs_authorization', last_error = 'no'")
    somebody = Tenant(tenant.house, replace(tenant.context, actor_id=str(uuid4())))
    again = await somebody.connect("hubspot")
    assert (again.id, again.status, again.last_error) == (first.id, pb.CONNECTION_STATUS_ACTIVE, "")
    assert again.connected_by == somebody.context.actor_id
    by_their_key = await tenant(by_key())
    assert (by_their_key.id, by_their_key.method) == (first.id, pb.CONNECTION_METHOD_API_KEY)
    assert [each.again for each in await tenant.published(ConnectionEstablished)] == [False, True, True]


async def test_a_key_of_ours_connects_as_itself(tenant: Tenant) -> None:
    connection = await tenant.key().connect("pipedrive")
    assert connection.connected_by_kind == pb.CONNECTED_BY_KIND_API_KEY


async def test_the_trail_is_told_who_connected_it_from_where(tenant: Tenant) -> None:
    connection = await tenant.connect("hubspot")
    await tenant.disconnect(connection.id)
    connected, disconnected = [each.act for each in await tenant.published(IntegrationActCommitted)]
    assert (connected.kind, disconnected.kind) == (
        AuditedAct.KIND_INTEGRATION_CONNECTED,
        AuditedAct.KIND_INTEGRATION_DISCONNECTED,
    )
    for act in (connected, disconnected):
        assert act.target_id == connection.id
        assert (act.actor.kind, act.actor.id) == (Actor.KIND_USER, tenant.context.actor_id)
        assert act.role == Role.ORG_ADMIN.value
    # Who agreed is known by the state; where they were, by the browser that came back.
    assert connected.client_address == ANYBODY.client_address
    assert dict(connected.after) == {"provider": "hubspot", "method": "oauth", "account_id": "4711"}


async def test_what_comes_back_is_taken_once(tenant: Tenant) -> None:
    location = await tenant.house.crms["hubspot"].agree(await tenant.begin("hubspot"))
    pages = await asyncio.gather(*(tenant.come_back(location) for _ in range(8)))
    assert sorted("Connected" in said(page) for page in pages) == [False] * 7 + [True]
    assert len(tenant.house.crms["hubspot"].grants.access_tokens) == 1


async def test_a_program_that_looks_before_the_browser_uses_nothing_up(tenant: Tenant) -> None:
    location = await tenant.house.crms["hubspot"].agree(await tenant.begin("hubspot"))
    asked = parse_qs(urlsplit(location).query)
    looked = authorizations_pb2.CompleteAuthorizationRequest(
        provider=pb.PROVIDER_HUBSPOT, state=asked["state"][0], code=asked["code"][0]
    )
    await tenant(looked, replace(ANYBODY, head_only=True))
    assert "Connected" in said(await tenant.come_back(location))


async def test_what_comes_back_late_is_refused(tenant: Tenant) -> None:
    location = await tenant.house.crms["hubspot"].agree(await tenant.begin("hubspot"))
    await tenant.execute("UPDATE authorizations SET expires_at = now()")
    page = await tenant.come_back(location)
    assert "older than ten minutes" in said(page)
    assert tenant.house.crms["hubspot"].grants.access_tokens == set()


async def test_who_never_comes_back_is_forgotten(tenant: Tenant, scheduler: RoleDatabase) -> None:
    for provider in ("hubspot", "salesforce"):
        await tenant.begin(provider)
    await tenant.execute(
        "UPDATE authorizations SET expires_at = now() - interval '61 minutes'"
        " WHERE id = (SELECT min(id::text)::uuid FROM authorizations)"
    )
    await Forgetting(scheduler, *KEPT).round()
    assert len(await tenant.rows("SELECT id FROM authorizations")) == 1


def every_byte_changed(state: str) -> list[str]:
    raw = urlsafe_b64decode(state + "=" * (-len(state) % 4))
    changed = [raw[:place] + bytes((raw[place] ^ 1,)) + raw[place + 1 :] for place in range(len(raw))]
    return [urlsafe_b64encode(each).rstrip(b"=").decode() for each in changed]


async def test_no_state_opens_but_the_one_that_was_given(tenant: Tenant, integrations: House) -> None:
    location = await integrations.crms["hubspot"].agree(await tenant.begin("hubspot"))
    (state,) = parse_qs(urlsplit(location).query)["state"]
    for forged in (*every_byte_changed(state), state[:-2], state + "AA"):
        with pytest.raises(NotFound):
            await tenant.come_back(location, state=forged)
    # Signed for one CRM, it does not open at the callback of another.
    with pytest.raises(NotFound):
        await tenant.come_back(location, provider="salesforce")
    assert "Connected" in said(await tenant.come_back(location))


async def test_a_code_of_one_organization_is_of_no_use_to_another(
    tenant: Tenant, integrations: House
) -> None:
    """Whoever gets hold of a code cannot redeem it under a state of their own: its verifier is another."""
    stranger = integrations.tenant()
    crm = integrations.crms["hubspot"]
    theirs = parse_qs(urlsplit(await crm.agree(await stranger.begin("hubspot"))).query)
    location = await crm.agree(await tenant.begin("hubspot"))
    page = await tenant.come_back(location, code=theirs["code"][0])
    assert "is not connected" in said(page)
    assert await tenant.connections() == await stranger.connections() == []


@pytest.mark.parametrize("error", ["access_denied", "user_denied", "server_error", "<b>x</b>"])
async def test_who_does_not_agree_is_told_so_and_the_state_is_spent(tenant: Tenant, error: str) -> None:
    location = await tenant.house.crms["hubspot"].agree(await tenant.begin("hubspot"))
    asked = parse_qs(urlsplit(location).query)
    denied = authorizations_pb2.CompleteAuthorizationRequest(
        provider=pb.PROVIDER_HUBSPOT,
        state=asked["state"][0],
        error=error,
        error_description="Call 0900-1234 to go on <script>",
    )
    page = await tenant(denied, ANYBODY)
    assert "HubSpot is not connected" in said(page)
    assert "0900" not in said(page)
    assert "<b>" not in page.data.decode()
    assert "has been used" in said(await tenant.come_back(location))
    assert await tenant.connections() == []


async def test_neither_code_nor_error_is_no_answer_of_a_crm(tenant: Tenant) -> None:
    location = await tenant.house.crms["hubspot"].agree(await tenant.begin("hubspot"))
    (state,) = parse_qs(urlsplit(location).query)["state"]
    with pytest.raises(InvalidRequest):
        await tenant(
            authorizations_pb2.CompleteAuthorizationRequest(provider=pb.PROVIDER_HUBSPOT, state=state),
            ANYBODY,
        )
    assert "Connected" in said(await tenant.come_back(location))


@pytest.mark.parametrize("status", [400, 429, 500])
async def test_what_a_crm_fails_at_is_said_on_the_page_and_nothing_is_kept(
    tenant: Tenant, status: int
) -> None:
    crm = tenant.house.crms["hubspot"]
    location = await crm.agree(await tenant.begin("hubspot"))
    crm.grants.failures = [JSONResponse({"error": "temporarily_unavailable", "code": "s3cret"}, status)]
    page = await tenant.come_back(location)
    assert "HubSpot is not connected" in said(page)
    assert "s3cret" not in page.data.decode()
    assert await tenant.connections() == []


async def test_an_organization_that_lost_the_plan_meanwhile_is_not_connected(tenant: Tenant) -> None:
    crm = tenant.house.crms["hubspot"]
    location = await crm.agree(await tenant.begin("hubspot"))
    tenant.house.plans.without.add(tenant.context.organization)
    assert "plan does not include" in said(await tenant.come_back(location))
    assert crm.grants.access_tokens == set()


async def test_a_crm_that_is_not_set_up_is_said_to_be_so(tenant: Tenant, integrations: House) -> None:
    connecting = Connecting(integrations.database, integrations.vault, Offers({}), None, None)  # type: ignore[arg-type]
    with pytest.raises(NotSetUp, match="HubSpot is not set up on this platform"):
        await connecting.by_key(tenant.context, "hubspot", None)  # type: ignore[arg-type]


async def test_members_and_keys_that_only_read_connect_nothing(tenant: Tenant) -> None:
    member = Tenant(tenant.house, replace(tenant.context, role=Role.MEMBER))
    reader = tenant.key()
    reader.context = replace(reader.context, scopes=frozenset({"integrations:read"}))
    for who in (member, reader):
        for request in (
            by_key(),
            authorizations_pb2.BeginAuthorizationRequest(provider=pb.PROVIDER_HUBSPOT),
            pb.DeleteConnectionRequest(connection_id=str(uuid4())),
        ):
            with pytest.raises(PermissionDenied):
                await who(request)
    await member.connections()


async def test_below_the_plan_nothing_is_connected_shown_or_begun(tenant: Tenant) -> None:
    connection = await tenant.connect("hubspot")
    below = Tenant(tenant.house, replace(tenant.context, features=frozenset()))
    for request in (
        by_key(),
        authorizations_pb2.BeginAuthorizationRequest(provider=pb.PROVIDER_HUBSPOT),
        pb.ListConnectionsRequest(),
        pb.GetConnectionRequest(connection_id=connection.id),
        pb.DeleteConnectionRequest(connection_id=connection.id),
    ):
        with pytest.raises(PermissionDenied) as refused:
            await below(request)
        assert refused.value.reason == "PLAN_UPGRADE_REQUIRED"


async def test_below_the_plan_what_is_held_is_listed_as_paused_and_can_be_taken_back(tenant: Tenant) -> None:
    connection = await tenant.connect("hubspot")
    (held,) = (await tenant(held_credentials_pb2.ListHeldCredentialsRequest())).held_credentials
    assert (held.connection_id, held.paused_by_plan) == (connection.id, False)
    below = Tenant(tenant.house, replace(tenant.context, features=frozenset()))
    (held,) = (await below(held_credentials_pb2.ListHeldCredentialsRequest())).held_credentials
    assert (held.connection_id, held.paused_by_plan) == (connection.id, True)
    await below(held_credentials_pb2.RevokeHeldCredentialRequest(connection_id=connection.id))
    assert (await below(held_credentials_pb2.ListHeldCredentialsRequest())).held_credentials == []


async def test_what_somebody_connected_is_found_by_who_they_are(tenant: Tenant) -> None:
    colleague = Tenant(tenant.house, replace(tenant.context, actor_id=str(uuid4())))
    await tenant.connect("hubspot")
    theirs = await colleague.connect("salesforce")
    assert [each.id for each in await tenant.connections(connected_by=colleague.context.actor_id)] == [
        theirs.id
    ]
    assert await tenant.connections(connected_by=str(uuid4())) == []
    held = await tenant(
        held_credentials_pb2.ListHeldCredentialsRequest(connected_by=colleague.context.actor_id)
    )
    assert [each.connection_id for each in held.held_credentials] == [theirs.id]


async def test_connections_come_in_pages_the_newest_first(tenant: Tenant) -> None:
    made = [await tenant.connect(provider) for provider in PROVIDERS]
    seen, token = [], ""
    while True:
        page = await tenant(pb.ListConnectionsRequest(page_size=2, page_token=token))
        seen += [each.id for each in page.connections]
        if not (token := page.next_page_token):
            break
    assert seen == [each.id for each in reversed(made)]


async def test_what_belongs_to_another_organization_is_not_there(tenant: Tenant, integrations: House) -> None:
    connection = await tenant.connect("hubspot")
    stranger = integrations.tenant()
    for request in (
        pb.GetConnectionRequest(connection_id=connection.id),
        pb.DeleteConnectionRequest(connection_id=connection.id),
        held_credentials_pb2.RevokeHeldCredentialRequest(connection_id=connection.id),
    ):
        with pytest.raises(DomainError) as refused:
            await stranger(request)
        assert isinstance(refused.value, NotFound)
    assert await stranger.connections() == []
    assert (await tenant.connection(connection.id)).status == pb.CONNECTION_STATUS_ACTIVE
