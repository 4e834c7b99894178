"""Syncs as they run: begun when they are due, under a lease, and over when everything is in step, or put off, or given up.

Contacts and suppression are the real services, HubSpot is a local server.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from chassis.context import RequestContext
from chassis.database import Database, RoleDatabase
from chassis.identifiers import new_id
from chassis.rpc.client import Peer
from chassis.rpc.server import RpcServer
from chassis.secret import Secret
from chassis.stamp import Stamper, StampVerifier
from chassis.vault.settings import wrapping_of
from chassis.vault.vault import Vault
from deploy.demo.waiting import until
from flownurture.contacts.v1 import contacts_pb2
from flownurture.contacts.v1.contacts_pb2_grpc import ContactServiceStub
from flownurture.identity.v1 import plans_pb2
from flownurture.integrations.v1 import connections_pb2
from flownurture.integrations.v1.events_pb2 import SyncCompleted, SyncFailed
from services.contacts.api.contacts import ContactApi
from services.contacts.api.synced_contacts import SyncedContactApi
from services.contacts.identity_peer import IdentityPeer
from services.integrations.crm.tests.servers.hubspot import HubSpotAccount
from services.integrations.settings import IntegrationsSettings
from services.integrations.sync import activities, turns
from services.integrations.sync.activities import Happened, Kind
from services.integrations.sync.contacts import Contacts
from services.integrations.sync.turns import Turns
from services.integrations.sync.verdicts import BELOW_PLAN, MOST_ATTEMPTS
from services.integrations.tests.house import House, Tenant, house
from services.sending.suppression.api.reported_opt_outs import ReportedOptOutApi

Environment = Callable[[str], dict[str, str]]
EVERY = timedelta(minutes=15)


class Plan:
    """The part of identity that contacts asks: plenty for everybody."""

    service = plans_pb2.DESCRIPTOR.services_by_name["EntitlementService"]

    async def get_entitlements(
        self, request: plans_pb2.GetEntitlementsRequest, context: RequestContext
    ) -> plans_pb2.GetEntitlementsResponse:
        """The plan of the context's organization."""
        return plans_pb2.GetEntitlementsResponse(limits={"contacts": 1_000_000})


@dataclass
class Held(Response):
    """An answer that does not come until it may."""

    asked: asyncio.Event = field(default_factory=asyncio.Event)
    may_come: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked.set()
        await self.may_come.wait()
        await JSONResponse({}, 503)(scope, receive, send)


@dataclass
class Neighbours:
    """The processes that syncs take, and a house of integrations."""

    house: House
    contacts: Peer
    turns: Turns


@dataclass
class Shop:
    """An organization, and what its HubSpot account has."""

    around: Neighbours
    tenant: Tenant
    crm: HubSpotAccount
    connection_id: str = ""

    async def connect(self) -> connections_pb2.Connection:
        connection = await self.tenant.connect("hubspot")
        self.connection_id = connection.id
        return connection

    async def turn(self) -> None:
        """One turn, as the runner of a process takes it."""
        context = RequestContext.of_process("integrations", self.tenant.context.organization)
        await self.around.turns.take(context, UUID(self.connection_id))

    async def syncs(self) -> list[Any]:
        """The newest first."""
        return await self.tenant.rows("SELECT * FROM syncs ORDER BY id DESC")

    async def is_due(self) -> bool:
        (row,) = await self.tenant.rows("SELECT due_at <= now() AS is_due FROM sync_positions")
        return bool(row.is_due)

    async def time_passes(self) -> None:
        """What waits has waited for long enough, and what is due some time is due."""
        await self.tenant.execute("UPDATE syncs SET lease_until = now() WHERE lease_token IS NULL")
        await self.tenant.execute("UPDATE sync_positions SET due_at = now() WHERE due_at < 'infinity'")

    async def create(self, email: str) -> None:
        await self._contacts("CreateContact", contacts_pb2.CreateContactRequest(email=email))

    async def emails(self) -> set[str]:
        listed = await self._contacts("ListContacts", contacts_pb2.ListContactsRequest(page_size=500))
        return {contact.email for contact in listed.contacts}

    async def connection(self) -> connections_pb2.Connection:
        return await self.tenant.connection(self.connection_id)

    async def _contacts(self, method: str, request: Any) -> Any:
        context = replace(self.tenant.context, limits=(("contacts", 1_000_000),))
        peer = self.around.contacts
        return await peer.call(getattr(ContactServiceStub(peer.channel), method), request, context)


@pytest.fixture(scope="module")
async def around(service_environment: Environment) -> AsyncIterator[Neighbours]:
    async with AsyncExitStack() as stack:
        yield await _built(stack, service_environment)


@pytest.fixture
async def shop(around: Neighbours) -> Shop:
    crm = around.house.crms["hubspot"]
    account = crm.hubspot
    account.contacts.clear()
    account.lost.clear()
    account.instead.clear()
    account.calls.clear()
    shop = Shop(around, around.house.tenant(), account)
    await shop.create("ada@example.test")
    account.add("byron@example.test", firstname="Byron")
    account.add("clara@example.test", firstname="Clara")
    return shop


async def _built(stack: AsyncExitStack, environment: Environment) -> Neighbours:
    told = environment("integrations")
    settings = IntegrationsSettings(**{name.lower(): value for name, value in told.items()})  # type: ignore[arg-type]

    async def database(process: str, schema: str) -> Database:
        return await stack.enter_async_context(
            Database(Secret(environment(process)["DATABASE_URL"]), schema=schema)
        )

    async def served(process: str, owner: Database, *apis: Any) -> RpcServer:
        trusted = json.loads(environment(process)["STAMP_TRUSTED_KEYS"])
        server = RpcServer(process, "127.0.0.1:0", StampVerifier(process, trusted), owner)
        return await stack.enter_async_context(server.add(*apis))

    async def peer(server: RpcServer, process: str, caller: str) -> Peer:
        stamper = Stamper(caller, Secret(environment(caller)["STAMP_PRIVATE_KEY"]))
        return await stack.enter_async_context(Peer(f"127.0.0.1:{server.port}", process, stamper))

    of_contacts, of_sending = await database("contacts", "contacts"), await database("suppression", "sending")
    plan = IdentityPeer(await peer(await served("identity", of_contacts, Plan()), "identity", "contacts"))
    contacts = await served("contacts", of_contacts, ContactApi(), SyncedContactApi(of_contacts, plan))
    suppression = await served("suppression", of_sending, ReportedOptOutApi())
    ours = await database("integrations", "integrations")
    scheduler = await stack.enter_async_context(RoleDatabase(settings.database_scheduler_url))
    vault = Vault("integrations", wrapping_of(settings))
    built = await stack.enter_async_context(house(settings, ours, scheduler, vault, environment))
    both = Contacts(
        await peer(contacts, "contacts", "integrations"),
        await peer(suppression, "suppression", "integrations"),
    )
    return Neighbours(
        built,
        await peer(contacts, "contacts", "gateway"),
        Turns(ours, built.credentials, built.http, both, built.identity, every=EVERY),
    )


async def test_an_account_that_is_connected_is_synced_both_ways_by_its_own_credential(shop: Shop) -> None:
    await shop.connect()
    assert await shop.is_due()
    await shop.turn()
    everybody = {"ada@example.test", "byron@example.test", "clara@example.test"}
    assert await shop.emails() == everybody
    assert {held["email"] for held in shop.crm.contacts.values()} == everybody
    (sync,) = await shop.syncs()
    assert (sync.status, sync.trigger, sync.error) == ("completed", "schedule", "")
    assert (sync.records_read, sync.contacts_created, sync.records_created) == (2, 2, 1)
    (told,) = await shop.tenant.published(SyncCompleted)
    assert (told.sync_id, told.connection_id) == (str(sync.id), shop.connection_id)
    assert (told.counts.records_read, told.counts.records_created) == (2, 1)
    connection = await shop.connection()
    assert connection.HasField("last_sync_at")
    assert connection.last_error == ""
    assert not await shop.is_due()
    await shop.turn()
    assert len(await shop.syncs()) == 1
    await shop.time_passes()
    await shop.turn()
    assert [each.status for each in await shop.syncs()] == ["completed", "completed"]


async def test_behind_the_contacts_a_sync_tells_what_happened_to_their_mail(shop: Shop) -> None:
    await shop.connect()
    await shop.turn()
    (link,) = await shop.tenant.rows("SELECT contact_id, record_id FROM links ORDER BY record_id LIMIT 1")
    opened = Happened(Kind.OPENED, link.contact_id, of=new_id(), at=datetime.now(UTC))
    async with shop.around.house.database.tenant_transaction(shop.tenant.context) as session:
        await activities.note(session, [opened])
    shop.crm.notes.clear()
    await shop.time_passes()
    await shop.turn()
    (note,) = shop.crm.notes
    assert note["associations"][0]["to"]["id"] == link.record_id
    assert note["properties"]["hs_note_body"].startswith("Email opened")
    assert (await shop.syncs())[0].status == "completed"


@pytest.mark.parametrize(
    ("answer", "least", "most"),
    [
        pytest.param(
            JSONResponse({"policyName": "TEN_SECONDLY_ROLLING"}, 429, {"Retry-After": "7"}), 5, 8, id="429"
        ),
        pytest.param(JSONResponse({"policyName": "DAILY"}, 429), 3_000, 4_000, id="quota"),
        pytest.param(JSONResponse({}, 503), 2, 12, id="broken"),
    ],
)
async def test_a_sync_waits_for_as_long_as_the_crm_asks_and_goes_on(
    shop: Shop, answer: Response, least: int, most: int
) -> None:
    await shop.connect()
    shop.crm.instead.append(answer)
    await shop.turn()
    (sync,) = await shop.syncs()
    assert sync.status == "waiting"
    assert sync.error
    wait = sync.lease_until - datetime.now(UTC)
    assert timedelta(seconds=least) < wait < timedelta(seconds=most)
    asked = len(shop.crm.calls)
    await shop.turn()
    assert len(shop.crm.calls) == asked
    await shop.time_passes()
    await shop.turn()
    (sync,) = await shop.syncs()
    assert (sync.status, sync.error) == ("completed", "")


async def test_a_crm_that_stays_broken_fails_the_sync_and_is_tried_again_later(shop: Shop) -> None:
    await shop.connect()
    for _ in range(MOST_ATTEMPTS):
        shop.crm.instead.append(JSONResponse({}, 500))
        await shop.time_passes()
        await shop.turn()
    (sync,) = await shop.syncs()
    assert (sync.status, sync.error) == ("failed", "The CRM answered 500.")
    (told,) = await shop.tenant.published(SyncFailed)
    assert (told.sync_id, told.error) == (str(sync.id), sync.error)
    assert (await shop.connection()).last_error == "The CRM answered 500."
    assert not await shop.is_due()
    await shop.time_passes()
    await shop.turn()
    assert [each.status for each in await shop.syncs()] == ["completed", "failed"]
    assert (await shop.connection()).last_error == ""


async def test_what_is_not_allowed_fails_with_what_the_crm_says(shop: Shop) -> None:
    await shop.connect()
    shop.crm.instead.append(JSONResponse({"category": "MISSING_SCOPES"}, 403))
    await shop.turn()
    (sync,) = await shop.syncs()
    assert sync.status == "failed"
    assert sync.error.startswith("The CRM does not allow this")


async def test_nothing_is_due_after_a_refused_credential_until_somebody_connects_again(shop: Shop) -> None:
    await shop.connect()
    grants = shop.around.house.crms["hubspot"].grants
    grants.expire()
    grants.refresh_tokens.clear()
    await shop.turn()
    (sync,) = await shop.syncs()
    assert sync.status == "failed"
    assert (await shop.connection()).status == connections_pb2.CONNECTION_STATUS_NEEDS_AUTHORIZATION
    await shop.time_passes()
    assert not await shop.is_due()
    await shop.connect()
    assert await shop.is_due()
    await shop.turn()
    assert [each.status for each in await shop.syncs()] == ["completed", "failed"]


async def test_below_the_plan_nothing_is_synced_or_deleted_until_there_is_an_upgrade(shop: Shop) -> None:
    organization = shop.tenant.context.organization
    await shop.connect()
    shop.around.house.plans.without.add(organization)
    await shop.turn()
    assert await shop.syncs() == []
    assert shop.crm.calls == []
    (row,) = await shop.tenant.rows("SELECT due_at - now() AS pause FROM sync_positions")
    assert timedelta(minutes=1) < row.pause < timedelta(minutes=5)
    shop.around.house.plans.without.discard(organization)
    await shop.time_passes()
    await shop.turn()
    (sync,) = await shop.syncs()
    assert sync.status == "completed"


async def test_of_an_organization_that_is_suspended_nothing_is_synced_until_it_is_resumed(shop: Shop) -> None:
    organization = shop.tenant.context.organization
    await shop.connect()
    shop.around.house.plans.suspended.add(organization)
    await shop.turn()
    assert await shop.syncs() == []
    assert shop.crm.calls == []
    shop.around.house.plans.suspended.discard(organization)
    await shop.time_passes()
    await shop.turn()
    assert [each.status for each in await shop.syncs()] == ["completed"]


async def test_a_sync_under_way_stops_when_the_plan_ends(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "PLAN_SECONDS", 0.05)
    organization = shop.tenant.context.organization
    await shop.connect()
    shop.crm.instead.append(held := Held())
    turn = asyncio.create_task(shop.turn())
    await held.asked.wait()
    shop.around.house.plans.without.add(organization)
    await turn
    held.may_come.set()
    (sync,) = await shop.syncs()
    assert (sync.status, sync.error) == ("waiting", BELOW_PLAN)
    shop.around.house.plans.without.discard(organization)
    await shop.time_passes()
    await shop.turn()
    (sync,) = await shop.syncs()
    assert sync.status == "completed"


async def test_a_disconnection_stops_the_sync_that_is_under_way(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "BEAT_SECONDS", 0.05)
    await shop.connect()
    shop.crm.instead.append(held := Held())
    turn = asyncio.create_task(shop.turn())
    await held.asked.wait()
    asked = len(shop.crm.calls)
    await shop.tenant.disconnect(shop.connection_id)
    await turn
    held.may_come.set()
    assert len(shop.crm.calls) == asked
    assert await shop.syncs() == []
    assert await shop.emails() == {"ada@example.test"}


async def test_the_lease_of_a_long_step_is_kept_and_nobody_else_works_on_it(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "BEAT_SECONDS", 0.05)
    await shop.connect()
    shop.crm.instead.append(held := Held())
    turn = asyncio.create_task(shop.turn())
    await held.asked.wait()
    (before,) = await shop.syncs()
    await until(shop.syncs, lambda found: found[0].lease_until > before.lease_until, seconds=20)
    asked = len(shop.crm.calls)
    await shop.turn()
    assert len(shop.crm.calls) == asked
    held.may_come.set()
    await turn


async def test_of_two_that_find_it_due_at_once_one_begins(shop: Shop) -> None:
    await shop.connect()
    await asyncio.gather(*(shop.turn() for _ in range(4)))
    (sync,) = await shop.syncs()
    assert sync.records_read == 2
    paths = [path for path, _ in shop.crm.calls]
    assert sum(path.endswith("/batch/upsert") for path in paths) == 1


async def test_whoever_is_stopped_leaves_the_sync_to_others_at_once_and_nothing_is_written_twice(
    shop: Shop,
) -> None:
    await shop.connect()
    shop.crm.lost.append(held := Held())
    turn = asyncio.create_task(shop.turn())
    await held.asked.wait()
    turn.cancel()
    with pytest.raises(asyncio.CancelledError):
        await turn
    held.may_come.set()
    (sync,) = await shop.syncs()
    assert (sync.status, sync.lease_token) == ("running", None)
    await shop.turn()
    (sync,) = await shop.syncs()
    assert sync.status == "completed"
    assert sorted(each["email"] for each in shop.crm.contacts.values()) == sorted(await shop.emails())
