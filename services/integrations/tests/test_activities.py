"""What happens to the mail of a linked contact is seen in the CRM: once, whoever dies meanwhile; and nothing of anybody else's."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from html import unescape
from random import Random
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from google.protobuf.message import Message
from sqlalchemy import text
from starlette.responses import JSONResponse

from chassis.context import RequestContext
from chassis.errors import NotFound
from chassis.identifiers import new_id
from chassis.retention import Forgetting
from flownurture.contacts.v1.contacts_pb2 import Contact
from flownurture.contacts.v1.events_pb2 import ContactsDeleted, ContactsUnsubscribed
from flownurture.delivery.v1.events_pb2 import MessageOutcome, MessagesSettled
from flownurture.events.v1.envelope_pb2 import Envelope
from flownurture.integrations.v1 import connections_pb2 as pb
from flownurture.sending.v1 import messages_pb2
from flownurture.sending.v1.events_pb2 import CampaignLaunched, EmailsClicked, EmailsOpened, Engagement
from services.integrations.consumers import contacts_consumer
from services.integrations.crm.adapter import Crm
from services.integrations.crm.hubspot import HubSpot
from services.integrations.crm.records import Activity, Outcome
from services.integrations.crm.tests.servers.hubspot import HubSpotAccount
from services.integrations.crm.tests.servers.keys import Key
from services.integrations.crm.tests.servers.serving import serving
from services.integrations.mail_events import mail_consumers
from services.integrations.retention import KEPT
from services.integrations.sync import syncs
from services.integrations.sync.handing_over import HandingOver
from services.integrations.sync.settling import Problem
from services.integrations.sync.syncs import Lease, LeaseLost, Trigger
from services.integrations.tests.house import House, Tenant

NOBODY: Any = None
AT_ONCE = timedelta(0)
NOW = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)


class Cut(Exception):
    """The process died just then."""


@dataclass
class Mortal:
    """A CRM whose callers may die: before a call, or while it is answered, which the CRM does not notice."""

    crm: HubSpot
    dies: list[str] = field(default_factory=list)
    calls: list[asyncio.Task[Any]] = field(default_factory=list)

    async def log(self, activities: Sequence[Activity]) -> Sequence[Outcome]:
        return await self._call(self.crm.log(activities))  # type: ignore[no-any-return]

    async def logged(self, activities: Sequence[Activity]) -> frozenset[str]:
        return await self._call(self.crm.logged(activities))  # type: ignore[no-any-return]

    async def _call(self, work: Any) -> Any:
        dies = self.dies.pop() if self.dies else ""
        if dies == "before":
            work.close()
            raise Cut
        call = asyncio.ensure_future(work)
        self.calls.append(call)
        answer = await asyncio.shield(call)
        if dies == "after":
            raise Cut
        return answer


@dataclass
class Scene:
    """A connection to an account with a contact for each of ours that is linked."""

    tenant: Tenant
    connection_id: UUID
    account: HubSpotAccount
    crm: Mortal

    async def link(self, is_cut: bool = False) -> UUID:
        """A contact of ours that is linked with one of theirs."""
        contact_id = uuid4()
        await self.tenant.execute(
            "INSERT INTO links (connection_id, contact_id, record_id, fingerprints, crm_opted_out, is_cut)"
            " VALUES (:connection, :contact, :record, '{}', false, :is_cut)",
            connection=self.connection_id,
            contact=contact_id,
            record=f"record-{contact_id}",
            is_cut=is_cut,
        )
        return contact_id

    async def hear(self, *events: Message, times: int = 1) -> None:
        database = self.tenant.house.database
        readers = [contacts_consumer(NOBODY, database), *mail_consumers(NOBODY, database)]
        for event in events:
            kind = event.DESCRIPTOR.full_name
            envelope = Envelope(
                id=str(new_id()),
                organization_id=str(self.tenant.context.organization),
                type=kind,
                payload=event.SerializeToString(),
            )
            for reader in readers * times:
                await reader.handle(envelope.SerializeToString())

    async def lease(self) -> Lease:
        async with self.tenant.house.database.tenant_transaction(self.tenant.context) as session:
            sync = await syncs.start(session, self.connection_id, Trigger.SCHEDULE)
            # Whoever had it before is dead.
            await session.execute(text("UPDATE syncs SET lease_until = now()"))
            claimed = await syncs.claim(session, sync.id)
        assert claimed is not None
        return claimed[0]

    async def hand_over(self, doubt: timedelta = AT_ONCE, lease: Lease | None = None) -> Sequence[Problem]:
        context = RequestContext.of_process("integrations", self.tenant.context.organization)
        handing = HandingOver(
            self.tenant.house.database,
            context,
            lease or await self.lease(),
            cast("Crm", self.crm),
        )
        return await handing.hand_over(doubt)

    async def waiting(self) -> int:
        (row,) = await self.tenant.rows("SELECT count(*) AS number FROM outgoing_activities")
        number: int = row.number
        return number

    def shown(self) -> list[tuple[str, str]]:
        """Whose each note is, and its first lines."""
        return [
            (
                note["associations"][0]["to"]["id"],
                unescape(
                    note["properties"]["hs_note_body"].rpartition("<br>[")[0].replace("<br>", "\n")
                ).strip(),
            )
            for note in self.account.notes
        ]


@pytest.fixture
async def scene(integrations: House) -> AsyncIterator[Scene]:
    tenant = integrations.tenant()
    connection = await tenant.connect("hubspot")
    account = HubSpotAccount()
    async with serving(account.app()) as url:
        crm = Mortal(HubSpot(integrations.http, Key(url)))
        yield Scene(tenant, UUID(connection.id), account, crm)


def settled(
    contact_id: UUID | str, campaign_id: str = "", status: str = "SENT", at: datetime = NOW, **more: Any
) -> MessageOutcome:
    outcome = MessageOutcome(
        message_id=more.pop("message_id", str(uuid4())),
        campaign_id=campaign_id,
        contact_id=str(contact_id),
        status=messages_pb2.MessageStatus.Value(f"MESSAGE_STATUS_{status}"),
        **more,
    )
    outcome.occurred_at.FromDatetime(at)
    return outcome


def engaged(contact_id: UUID, campaign_id: str = "", at: datetime = NOW, **more: Any) -> Engagement:
    given: dict[str, Any] = {"message_id": str(uuid4()), "is_first": True} | more
    engagement = Engagement(campaign_id=campaign_id, contact_id=str(contact_id), **given)
    engagement.occurred_at.FromDatetime(at)
    return engagement


async def test_what_happens_to_a_linked_contacts_mail_is_shown_once_and_in_the_order_of_time(
    scene: Scene,
) -> None:
    contact_id, campaign_id = await scene.link(), str(uuid4())
    record = f"record-{contact_id}"
    later = [NOW + timedelta(minutes=minutes) for minutes in range(4)]
    link = "https://shop.test/plums"
    bounced = settled(contact_id, status="BOUNCED", at=later[3], smtp_reply="550 5.1.1 Nobody here")
    await scene.hear(
        EmailsClicked(engagements=[engaged(contact_id, campaign_id, later[2], url=link)]),
        EmailsOpened(engagements=[engaged(contact_id, campaign_id, later[1])]),
        MessagesSettled(outcomes=[settled(contact_id, campaign_id), bounced]),
        CampaignLaunched(campaign_id=campaign_id, name="Plums & pears"),
        ContactsUnsubscribed(contacts=[Contact(id=str(contact_id))]),
        times=2,
    )
    assert await scene.hand_over() == []
    assert scene.shown() == [
        (record, "Email sent: Plums & pears"),
        (record, "Email opened: Plums & pears"),
        (record, f"Link in an email followed: Plums & pears\n{link}"),
        (record, "Email bounced\n550 5.1.1 Nobody here"),
        (record, "Opted out of marketing email"),
    ]
    times = [int(note["properties"]["hs_timestamp"]) for note in scene.account.notes]
    assert times[:4] == [int(moment.timestamp() * 1000) for moment in later]
    assert await scene.waiting() == 0
    await scene.hand_over()
    assert len(scene.account.notes) == 5


async def test_what_was_shown_before_or_is_nobodys_is_not_noted(scene: Scene) -> None:
    contact_id = await scene.link()
    await scene.hear(
        MessagesSettled(
            outcomes=[
                settled(uuid4()),
                settled(await scene.link(is_cut=True)),
                settled(""),
                settled(contact_id, status="DEFERRED"),
                settled(contact_id, status="VETOED"),
                settled(contact_id, status="DELIVERED", superseded_status=messages_pb2.MESSAGE_STATUS_SENT),
                settled(contact_id, at=datetime.now(UTC) - timedelta(days=8)),
            ]
        ),
        EmailsOpened(engagements=[engaged(contact_id, is_first=False)]),
    )
    assert await scene.waiting() == 0


@pytest.mark.parametrize("seed", range(3))
async def test_whoever_dies_at_any_point_has_nothing_shown_twice_and_nothing_lost(
    scene: Scene, seed: int
) -> None:
    random = Random(seed)
    contacts = [await scene.link() for _ in range(150)]
    await scene.hear(MessagesSettled(outcomes=[settled(each) for each in contacts]))
    for _ in range(12):
        scene.crm.dies = random.choices(["", "before", "after"], k=2)
        work = asyncio.create_task(scene.hand_over())
        for _ in range(random.choice((10, 40, 200, 10_000))):
            if work.done():
                break
            await asyncio.sleep(0)
        work.cancel()
        with suppress(Cut, asyncio.CancelledError):
            await work
        await asyncio.gather(*scene.crm.calls, return_exceptions=True)
    scene.crm.dies = []
    await scene.hand_over()
    assert sorted(scene.shown()) == sorted((f"record-{each}", "Email sent") for each in contacts)
    assert await scene.waiting() == 0


async def test_what_is_in_doubt_is_left_alone_until_a_search_would_find_it(scene: Scene) -> None:
    await scene.hear(MessagesSettled(outcomes=[settled(await scene.link())]))
    scene.crm.dies = ["after"]
    with pytest.raises(Cut):
        await scene.hand_over()
    await scene.hand_over(timedelta(hours=1))
    assert (len(scene.account.notes), await scene.waiting()) == (1, 1)


@pytest.mark.parametrize(
    ("answer", "problems"),
    [
        (JSONResponse({"policyName": "SECONDLY"}, 429), 0),
        (JSONResponse({"policyName": "DAILY"}, 429), 0),
        (JSONResponse({}, 503), 0),
        (JSONResponse({"category": "MISSING_SCOPES"}, 403), 1),
    ],
    ids=["limit", "quota", "failure", "forbidden"],
)
async def test_a_crm_that_takes_none_for_now_ends_no_sync_and_is_told_later(
    scene: Scene, answer: JSONResponse, problems: int
) -> None:
    await scene.hear(MessagesSettled(outcomes=[settled(await scene.link())]))
    scene.account.instead = [answer]
    assert len(await scene.hand_over()) == problems
    assert (scene.account.notes, await scene.waiting()) == ([], 1)
    assert await scene.hand_over() == []
    assert len(scene.account.notes) == 1


async def test_whoever_has_lost_the_lease_hands_nothing_over(scene: Scene) -> None:
    await scene.hear(MessagesSettled(outcomes=[settled(await scene.link())]))
    lost = await scene.lease()
    await scene.lease()
    with pytest.raises(LeaseLost):
        await scene.hand_over(lease=lost)
    assert scene.account.notes == []


async def test_of_whoever_is_erased_or_linked_no_more_nothing_is_shown(scene: Scene) -> None:
    erased, unlinked = await scene.link(), await scene.link()
    await scene.hear(
        MessagesSettled(outcomes=[settled(erased), settled(unlinked)]),
        ContactsDeleted(contact_ids=[str(erased)]),
    )
    assert await scene.waiting() == 1
    await scene.tenant.execute("DELETE FROM links WHERE contact_id = :contact", contact=unlinked)
    await scene.hand_over()
    assert (scene.account.notes, await scene.waiting()) == ([], 0)


async def test_what_no_crm_has_taken_for_a_week_is_given_up(scene: Scene) -> None:
    await scene.hear(MessagesSettled(outcomes=[settled(await scene.link()), settled(await scene.link())]))
    await scene.tenant.execute(
        "UPDATE outgoing_activities SET occurred_at = now() - interval '8 days'"
        " WHERE id = (SELECT min(id::text)::uuid FROM outgoing_activities)"
    )
    await Forgetting(scene.tenant.house.scheduler, *KEPT).round()
    assert await scene.waiting() == 1


async def test_a_connection_that_is_to_show_nothing_shows_nothing(scene: Scene) -> None:
    contact_id, tenant = await scene.link(), scene.tenant
    connection_id = str(scene.connection_id)
    assert (await tenant.connection(connection_id)).log_activities
    await scene.hear(MessagesSettled(outcomes=[settled(contact_id)]))
    changed = await tenant(pb.UpdateConnectionRequest(connection_id=connection_id, log_activities=False))
    assert not changed.log_activities
    await scene.hear(MessagesSettled(outcomes=[settled(contact_id)]))
    assert await scene.waiting() == 0
    unchanged = await tenant(pb.UpdateConnectionRequest(connection_id=connection_id))
    assert not unchanged.log_activities
    with pytest.raises(NotFound):
        await tenant.house.tenant()(
            pb.UpdateConnectionRequest(connection_id=connection_id, log_activities=True)
        )
