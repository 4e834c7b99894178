"""Contacts and a CRM are edited, opted out, erased and interrupted as chance has it, and come to the same in the end.

Contacts and suppression are the real services. The CRM is a scripted one, whose adapter fails by itself, or one of those that there are: its
own adapter, with an account on this machine, between which answers, connections and tokens are lost. `SYNC_STORIES` is how many
stories are told of each; a failure names its seed.
"""

import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random
from typing import Any, TypeAlias
from uuid import UUID, uuid4

import pytest
from google.protobuf.message import Message
from sqlalchemy import insert, text

from chassis.consumer import Consumer
from chassis.context import ActorKind, RequestContext, Role
from chassis.database import Database, RoleDatabase
from chassis.errors import Conflict, Unavailable
from chassis.identifiers import new_id
from chassis.rpc.client import Peer
from chassis.rpc.server import RpcServer
from chassis.secret import Secret
from chassis.stamp import Stamper, StampVerifier
from flownurture.contacts.v1 import contacts_pb2, custom_fields_pb2
from flownurture.contacts.v1.contacts_pb2_grpc import ContactServiceStub
from flownurture.contacts.v1.custom_fields_pb2_grpc import CustomFieldServiceStub
from flownurture.identity.v1 import plans_pb2
from services.contacts.api.contacts import ContactApi
from services.contacts.api.custom_fields import CustomFieldApi
from services.contacts.api.synced_contacts import SyncedContactApi
from services.contacts.consumers import consumers as contacts_consumers
from services.contacts.identity_peer import IdentityPeer
from services.integrations.consumers import contacts_consumer
from services.integrations.crm import hubspot
from services.integrations.crm.errors import CrmError
from services.integrations.crm.tests.servers.accounts import ACCOUNTS
from services.integrations.sync import positions, run, syncs
from services.integrations.sync.contacts import Contacts
from services.integrations.sync.mapped_fields import MappedField, MappedFields
from services.integrations.sync.merging import Rule
from services.integrations.sync.our_fields import FieldType, OurField
from services.integrations.sync.run import Run, Scene
from services.integrations.sync.settling import Busy
from services.integrations.sync.syncs import Trigger
from services.integrations.tables import connections
from services.sending.suppression.api.reported_opt_outs import ReportedOptOutApi
from services.sending.suppression.consumers import consumers as suppression_consumers
from services.sending.suppression.resubscriptions import Resubscriptions
from tests.integration.scripted_crm import Cut, ScriptedCrm
from tests.integration.served_crm import ServedCrm, served_crm

STORIES = int(os.environ.get("SYNC_STORIES", "3"))
TURNS = 25
OURS = (
    OurField("first_name", "First name", FieldType.NAME, max_length=200),
    OurField("last_name", "Last name", FieldType.NAME, max_length=200),
    OurField("custom.points", "Points", FieldType.NUMBER),
)
# Readers are handed what they read.
NOBODY: Any = None
Environment = Callable[[str], dict[str, str]]
Build: TypeAlias = "Callable[[str, int], Awaitable[House]]"


@dataclass
class House:
    """The parts that a sync takes, of one organization."""

    context: RequestContext
    contacts: Peer
    processes: Contacts
    database: Database
    outboxes: dict[str, Database]
    readers: dict[str, list[Consumer]]
    # What people do in the CRM, and the adapter that a sync uses.
    theirs: ScriptedCrm | ServedCrm
    random: Random
    fields: MappedFields
    connection_id: UUID = field(default_factory=new_id)
    _carried: set[UUID] = field(default_factory=set)

    async def connect(self) -> None:
        """As if somebody had connected the CRM."""
        async with self.database.tenant_transaction(self.context) as session:
            await session.execute(
                insert(connections).values(
                    id=self.connection_id,
                    provider="hubspot",
                    method="oauth",
                    status="active",
                    account_id="1",
                    account_name="Scripted",
                    base_url="http://crm.test",
                    scopes=[],
                    connected_by=uuid4(),
                    connected_by_kind="user",
                    last_error="",
                )
            )
            await positions.begin(session, self.connection_id)

    async def call(self, stub: Any, request: Message) -> Any:
        return await self.contacts.call(stub, request, self.context)

    async def carry(self) -> None:
        """Bring what was told where it is heard, some of it twice."""
        for schema, readers in self.readers.items():
            async with self.outboxes[schema].tenant_transaction(self.context) as session:
                rows = (await session.execute(text("SELECT id, envelope FROM outbox ORDER BY id"))).all()
            for row in rows:
                if row.id not in self._carried:
                    self._carried.add(row.id)
                    for reader in readers * self.random.choice((1, 1, 1, 2)):
                        await reader.handle(bytes(row.envelope))

    async def sync(self) -> bool:
        """One sync, as far as it gets; whether it came to its end."""
        async with self.database.tenant_transaction(self.context) as session:
            sync = await syncs.start(session, self.connection_id, Trigger.SCHEDULE)
            # Whoever had it before is dead, and time has passed.
            await session.execute(text("UPDATE syncs SET lease_until = NULL WHERE lease_until IS NOT NULL"))
            claimed = await syncs.claim(session, sync.id)
            assert claimed is not None
        lease, _ = claimed
        scene = Scene(self.connection_id, self.theirs.crm, self.processes, self.fields, "CRM")
        try:
            await Run(self.database, self.context, lease, scene).go_to_the_end()
        except (CrmError, Cut, Busy, Unavailable):
            return False
        async with self.database.tenant_transaction(self.context) as session:
            await syncs.fence(session, lease)
            await syncs.finish(session, lease)
        return True

    async def settle(self) -> None:
        """Sync in peace until nothing changes any more."""
        self.theirs.unrest = 0.0
        for _ in range(4):
            await self.carry()
            # A CRM may twice ask for time to prepare what is to be read.
            assert await self.sync() or await self.sync() or await self.sync()
        await self.carry()

    async def everybody(self) -> dict[UUID, contacts_pb2.Contact]:
        stub = ContactServiceStub(self.contacts.channel)
        listed = await self.call(stub.ListContacts, contacts_pb2.ListContactsRequest(page_size=500))
        return {UUID(contact.id): contact for contact in listed.contacts}

    async def links(self) -> list[Any]:
        async with self.database.tenant_transaction(self.context, read_only=True) as session:
            return list(await session.execute(text("SELECT contact_id, record_id, is_cut FROM links")))


@pytest.fixture
async def build(service_environment: Environment) -> AsyncIterator[Build]:
    async with AsyncExitStack() as stack:
        yield lambda name, seed: _built(stack, service_environment, name, seed)


async def _built(stack: AsyncExitStack, environment: Environment, name: str, seed: int) -> House:
    outboxes = {
        schema: await stack.enter_async_context(
            Database(Secret(environment(process)["DATABASE_URL"]), schema=schema)
        )
        for schema, process in {"contacts": "contacts", "sending": "suppression"}.items()
    }
    database = await stack.enter_async_context(
        Database(Secret(environment("integrations")["DATABASE_URL"]), schema="integrations")
    )

    async def served(process: str, *apis: Any) -> RpcServer:
        trusted = json.loads(environment(process)["STAMP_TRUSTED_KEYS"])
        owner = {"contacts": outboxes["contacts"], "suppression": outboxes["sending"]}.get(process)
        server = RpcServer(process, "127.0.0.1:0", StampVerifier(process, trusted), owner)
        return await stack.enter_async_context(server.add(*apis))

    async def peer(server: RpcServer, process: str, caller: str) -> Peer:
        stamper = Stamper(caller, Secret(environment(caller)["STAMP_PRIVATE_KEY"]))
        return await stack.enter_async_context(Peer(f"127.0.0.1:{server.port}", process, stamper))

    identity = await served("identity", Plan())
    plan = IdentityPeer(await peer(identity, "identity", "contacts"))
    contacts = await served(
        "contacts",
        ContactApi(),
        CustomFieldApi(begun=lambda: None),
        SyncedContactApi(outboxes["contacts"], plan),
    )
    suppression = await served("suppression", ReportedOptOutApi())
    consent = await stack.enter_async_context(
        RoleDatabase(Secret(environment("suppression")["DATABASE_CONSENT_URL"]))
    )
    of_suppression = suppression_consumers(NOBODY, outboxes["sending"], Resubscriptions(consent))
    random = Random(seed)
    theirs = (
        ScriptedCrm(random)
        if name == "scripted"
        else await stack.enter_async_context(served_crm(name, random))
    )
    house = House(
        context=RequestContext(
            issuer="gateway",
            actor_kind=ActorKind.USER,
            actor_id=str(uuid4()),
            role=Role.MEMBER,
            organization_id=uuid4(),
            session_id=str(uuid4()),
            request_id=str(uuid4()),
            limits=(("contacts", 1_000_000),),
        ),
        contacts=await peer(contacts, "contacts", "gateway"),
        processes=Contacts(
            await peer(contacts, "contacts", "integrations"),
            await peer(suppression, "suppression", "integrations"),
        ),
        database=database,
        outboxes=outboxes,
        readers={
            "contacts": [contacts_consumer(NOBODY, database), *of_suppression],
            "sending": contacts_consumers(NOBODY, outboxes["contacts"])[:1],
        },
        theirs=theirs,
        random=random,
        fields=MappedFields(
            [
                MappedField(Rule(ours.name), ours, property_)
                for ours, property_ in zip(OURS, theirs.mapped, strict=True)
            ]
        ),
    )
    await house.call(
        CustomFieldServiceStub(house.contacts.channel).CreateCustomField,
        custom_fields_pb2.CreateCustomFieldRequest(
            key="points", type=custom_fields_pb2.CUSTOM_FIELD_TYPE_NUMBER
        ),
    )
    return house


class Plan:
    """The part of identity that contacts asks: plenty for everybody."""

    service = plans_pb2.DESCRIPTOR.services_by_name["EntitlementService"]

    async def get_entitlements(
        self, request: plans_pb2.GetEntitlementsRequest, context: RequestContext
    ) -> plans_pb2.GetEntitlementsResponse:
        """The plan of the context's organization."""
        return plans_pb2.GetEntitlementsResponse(limits={"contacts": 1_000_000})


@dataclass
class Story:
    """What people do on either side, and who has opted out by it."""

    house: House
    opted_out_here: set[UUID] = field(default_factory=set)
    opted_out_there: set[str] = field(default_factory=set)
    made_there: set[str] = field(default_factory=set)
    number: int = 0

    async def turn(self) -> None:
        """One thing happens."""
        await self.house.random.choice(
            (
                self.create_here,
                self.create_here,
                self.edit_here,
                self.edit_here,
                self.move_here,
                self.opt_out_here,
                self.erase_here,
                self.create_there,
                self.create_there,
                self.edit_there,
                self.edit_there,
                self.move_there,
                self.opt_out_there_,
                self.take_back_there,
                self.archive_there,
                self.house.carry,
                self.house.sync,
                self.house.sync,
                self.house.sync,
            )
        )()

    def fresh(self) -> str:
        self.number += 1
        return f"Person{self.number}@example.test"

    def word(self) -> str:
        return self.house.random.choice(("Ada", "Byron", "Zoë", "O'Hara", "x"))

    async def one_of_ours(self) -> contacts_pb2.Contact | None:
        everybody = list((await self.house.everybody()).values())
        return self.house.random.choice(everybody) if everybody else None

    def one_of_theirs(self) -> str | None:
        live = self.house.theirs.live()
        return self.house.random.choice(live).id if live else None

    async def create_here(self) -> None:
        theirs = [record.email for record in self.house.theirs.live() if record.email]
        email = self.house.random.choice([self.fresh(), *theirs[-1:]])
        stub = ContactServiceStub(self.house.contacts.channel)
        with suppress(Conflict):
            await self.house.call(
                stub.CreateContact,
                contacts_pb2.CreateContactRequest(email=email, first_name=self.word()),
            )

    async def _change(self, **changes: Any) -> None:
        contact = await self.one_of_ours()
        if contact is not None:
            request = contacts_pb2.UpdateContactRequest(contact_id=contact.id, **changes)
            request.custom_fields.update({"points": self.house.random.randrange(4)})
            await self.house.call(ContactServiceStub(self.house.contacts.channel).UpdateContact, request)

    async def edit_here(self) -> None:
        await self._change(first_name=self.word(), last_name=self.word())

    async def move_here(self) -> None:
        await self._change(email=self.fresh())

    async def opt_out_here(self) -> None:
        contact = await self.one_of_ours()
        if contact is not None:
            await self.house.processes.opt_out(self.house.context, [contact.email], "a link")
            self.opted_out_here.add(UUID(contact.id))
            await self.house.carry()

    async def erase_here(self) -> None:
        contact = await self.one_of_ours()
        if contact is not None and self.house.random.random() < 0.5:
            stub = ContactServiceStub(self.house.contacts.channel)
            await self.house.call(
                stub.DeleteContact, contacts_pb2.DeleteContactRequest(contact_id=contact.id)
            )
            self.opted_out_here.discard(UUID(contact.id))
            await self.house.carry()

    async def create_there(self) -> None:
        ours = [contact.email for contact in (await self.house.everybody()).values()]
        taken = {(record.email or "").lower() for record in self.house.theirs.live()}
        free = [email for email in ours if email.lower() not in taken]
        email = self.house.random.choice([self.fresh(), *free[:1], None])
        points = Decimal(self.house.random.randrange(4))
        self.made_there.add(self.house.theirs.add(email, given=self.word(), points=points))

    async def edit_there(self) -> None:
        if record_id := self.one_of_theirs():
            self.house.theirs.edit(
                record_id, given=self.word(), family=self.house.random.choice((None, self.word()))
            )

    async def move_there(self) -> None:
        if record_id := self.one_of_theirs():
            self.house.theirs.edit(record_id, self.fresh().lower())

    async def opt_out_there_(self) -> None:
        if record_id := self.one_of_theirs():
            self.house.theirs.say_opted_out(record_id)
            self.opted_out_there.add(record_id)

    async def take_back_there(self) -> None:
        # Who said so before the next sync has never said it, as far as anybody can tell.
        if (record_id := self.one_of_theirs()) and record_id not in self.opted_out_there:
            self.house.theirs.say_opted_out(record_id, opted_out=False)

    async def archive_there(self) -> None:
        if (record_id := self.one_of_theirs()) and self.house.random.random() < 0.3:
            self.house.theirs.archive(record_id)
            self.opted_out_there.discard(record_id)


@pytest.mark.parametrize("seed", range(STORIES))
@pytest.mark.parametrize("name", ["scripted", *ACCOUNTS])
async def test_both_sides_come_to_the_same_whatever_happens_and_nobody_is_subscribed_again(
    build: Build, monkeypatch: pytest.MonkeyPatch, name: str, seed: int
) -> None:
    # Pages end in the middle of what there is, and where they are small several are settled together.
    monkeypatch.setattr(run, "PAGE", (7, 21)[seed % 2])
    monkeypatch.setattr(hubspot, "_MOST_OF_A_SEARCH", 7)
    house = await build(name, seed)
    story = Story(house)
    for _ in range(house.random.randrange(6)):
        await story.create_here()
        await story.create_there()
    await house.connect()
    for _ in range(TURNS):
        house.theirs.unrest = house.random.choice((0.0, 0.1, 0.3))
        await story.turn()
    await house.settle()

    ours, theirs = await house.everybody(), {record.id: record for record in house.theirs.live()}
    links = [link for link in await house.links() if not link.is_cut]
    # That a record was taken away some CRMs tell only when it is next written.
    pairs = [(ours[link.contact_id], theirs[link.record_id]) for link in links if link.record_id in theirs]
    emails = [(record.email or record.id).lower() for record in theirs.values()]
    made_here = [
        (record.email or record.id).lower() for record in theirs.values() if record.id not in story.made_there
    ]
    assert len(set(made_here)) == len(made_here)
    for contact, record in pairs:
        if contact.email.lower() != (record.email or contact.email).lower():
            # Somebody else has the address that it would get; whoever sorts that out there sees it told.
            assert contact.email.lower() in emails or (record.email or "").lower() in {
                other.email.lower() for other in ours.values()
            }
            continue
        assert (contact.first_name or None, contact.last_name or None) == (
            record.properties.get("given"),
            record.properties.get("family"),
        )
        assert dict(contact.custom_fields).get("points") == record.properties.get("points")
        said = UUID(contact.id) in story.opted_out_here or record.id in story.opted_out_there
        assert (contact.status == contacts_pb2.CONTACT_STATUS_UNSUBSCRIBED) >= said
        assert record.opted_out >= (contact.status == contacts_pb2.CONTACT_STATUS_UNSUBSCRIBED)
    # Whoever has opted out here stays so, linked or not.
    for contact_id in story.opted_out_here & ours.keys():
        assert ours[contact_id].status == contacts_pb2.CONTACT_STATUS_UNSUBSCRIBED

    state, versions = house.theirs.state(), {id_: contact.updated_at for id_, contact in ours.items()}
    await house.settle()
    assert house.theirs.state() == state
    assert {id_: contact.updated_at for id_, contact in (await house.everybody()).items()} == versions


async def test_an_opt_out_reaches_a_record_by_the_address_that_it_has_there(
    build: Build,
) -> None:
    house = await build("scripted", 0)
    story = Story(house)
    await story.create_here()
    await house.connect()
    await house.settle()
    (record,) = house.theirs.live()
    house.theirs.edit(record.id, "Moved.To@example.test")
    await story.opt_out_here()
    assert await house.sync()
    (contact,), (record,) = (await house.everybody()).values(), house.theirs.live()
    assert record.opted_out
    # And is written as whoever moved has written it.
    assert (contact.email, record.email) == ("Moved.To@example.test", "Moved.To@example.test")


@pytest.mark.parametrize("before", [True, False], ids=["a record linked before", "a record of the same page"])
async def test_an_opt_out_counts_in_each_record_that_has_the_address(build: Build, *, before: bool) -> None:
    house = await build("scripted", 0)
    await house.connect()
    house.theirs.add("ada@example.test", given="Ada", points=None)
    if before:
        await house.settle()
    another = house.theirs.add("Ada@example.test", given="Ada again", points=None)
    house.theirs.say_opted_out(another)
    await house.settle()
    (contact,) = (await house.everybody()).values()
    assert contact.status == contacts_pb2.CONTACT_STATUS_UNSUBSCRIBED
    # The other record is told, and so that the CRM has said it is known when the person comes back.
    assert all(record.opted_out for record in house.theirs.live())
    (link,) = [link for link in await house.links() if not link.is_cut]
    assert link.contact_id == UUID(contact.id)


async def test_what_came_from_a_crm_is_told_to_others_alone(
    build: Build,
) -> None:
    house = await build("scripted", 0)
    house.theirs.add("ada@example.test", given="Ada", points=None)
    await house.connect()
    other = new_id()
    async with house.database.tenant_transaction(house.context) as session:
        await session.execute(
            text(
                "INSERT INTO connections (id, provider, method, account_id, account_name, base_url, connected_by, connected_by_kind) "
                "VALUES (:id, 'pipedrive', 'oauth', '2', 'Other', '', :id, 'user')"
            ),
            {"id": other},
        )
        await positions.begin(session, other)
    assert await house.sync()
    await house.carry()
    async with house.database.tenant_transaction(house.context, read_only=True) as session:
        waiting = (await session.execute(text("SELECT connection_id FROM outgoing_changes"))).scalars().all()
    assert waiting == [other]


async def test_an_opt_out_by_what_is_no_address_keeps_nobody_waiting(build: Build) -> None:
    house = await build("scripted", 0)
    await house.connect()
    for email in ("n/a", "ada@", " ada@example.test ", "ben@example.test"):
        house.theirs.say_opted_out(house.theirs.add(email, given="Ada", points=None))
    assert await house.sync()
    async with house.outboxes["sending"].tenant_transaction(house.context, read_only=True) as session:
        suppressed = (await session.execute(text("SELECT email FROM suppressions"))).scalars().all()
    assert sorted(suppressed) == ["ada@example.test", "ben@example.test"]


async def test_a_record_that_no_contact_can_be_keeps_no_other_waiting(build: Build) -> None:
    house = await build("scripted", 0)
    await house.connect()
    too_long = f"{'x' * 400}@example.test"
    for email in ("ada@example.test", "ben@example.test", too_long, "zoe@example.test"):
        house.theirs.add(email, given="Ada", points=None)
    assert await house.sync()
    everybody = (await house.everybody()).values()
    assert sorted(contact.email[:3] for contact in everybody) == ["ada", "ben", "zoe"]
    async with house.database.tenant_transaction(house.context, read_only=True) as session:
        refused = (await session.execute(text("SELECT record_id FROM sync_problems"))).scalars().all()
    assert refused == ["3"]
