"""A story of workflows that real workers live on a real database, two at a time and cut off anywhere, as a bystander looks on.

One turn after another: events are told, people are let in and suppressed while the workers work; then all of it is over, what is committed
is read, and the bystander has to find it explained. Documents, the clock, who people are and what contacts have carried out change between turns.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from typing import Any, TypeAlias
from uuid import UUID
from zoneinfo import ZoneInfo

import psycopg
from google.protobuf.message import Message
from sqlalchemy import text

from chassis.context import RequestContext
from chassis.contract.events import message_type
from chassis.database import Database, RoleDatabase
from chassis.email_address import EmailAddress
from chassis.errors import Unavailable
from chassis.identifiers import new_id
from flownurture.contacts.v1 import events_pb2 as contacts
from flownurture.contacts.v1.segments_pb2 import Rule
from flownurture.events.v1.envelope_pb2 import Envelope
from flownurture.sending.v1 import events_pb2 as sending
from flownurture.sending.v1 import workflows_pb2 as pb
from flownurture.suppression.v1.events_pb2 import AddressesSuppressed, SuppressedAddress
from flownurture.workflows.v1.events_pb2 import (
    CallEndpoints,
    ChangeContacts,
    ContactsEnrolled,
    EnrollmentsEnded,
    NotifyMembers,
)
from services.sending.identity_peer import IdentityPeer
from services.sending.statuses import SuppressionReason
from services.sending.suppression_list import Suppressed, suppress
from services.sending.tests.neighbours import Neighbour, Neighbours
from services.sending.tests.tenant import Tenant
from services.sending.tests.workflow_bystander import (
    Erased,
    Happened,
    Invited,
    Moved,
    Passages,
    Refused,
    Run,
    Seen,
    Told,
    World,
    counts_of,
    explained,
)
from services.sending.tests.workflow_runs import MovedClock, RunnerOf
from services.sending.workflows.advancing import Advancing
from services.sending.workflows.consumers import Happenings
from services.sending.workflows.documents import Version
from services.sending.workflows.enrolling import Source, enroll
from services.sending.workflows.enrollments import Enrollment, Ready, Waiting
from services.sending.workflows.events import Event, EventKind
from services.sending.workflows.interpreter import Trace
from services.sending.workflows.lifecycle import (
    activate_workflow,
    change_document,
    create_workflow,
    get_workflow,
    pause_workflow,
)
from services.sending.workflows.people import Description, Question
from services.sending.workflows.tests.drafts import FORM, LIST, SEGMENT, TAG
from services.sending.workflows.tests.second_reading import awaits

# Two days before clocks in Europe are put forward, and two weeks after those in America were.
BEGINNING = datetime(2027, 3, 26, 12, tzinfo=UTC)
NAMES = ("ada", "bob", "eve", "kim")
_ZONES = (ZoneInfo("Europe/Berlin"), ZoneInfo("America/New_York"), None, ZoneInfo("Australia/Lord_Howe"))
WORKERS = 2
# So that there are many sets, and most of them are of several.
_SIZE = 3
# More turns than anything takes that does not hang.
_PATIENCE = 30
_REASONS = (SuppressionReason.UNSUBSCRIBE, SuppressionReason.MANUAL, SuppressionReason.HARD_BOUNCE)

_ENROLLMENTS = text("""
    SELECT enrollment.id, enrollment.workflow_id, enrollment.contact_id, enrollment.email_digest, began_at, ended_at, cause, reason,
           place.version, place.step_id, place.visit, place.since, place.wake_at, place.waiting, place.held
    FROM enrollments AS enrollment LEFT JOIN enrollment_places AS place ON place.enrollment_id = enrollment.id
    ORDER BY enrollment.id
""")
_LINES = text(
    "SELECT enrollment_id, number, version, step_id, visit, at, why FROM enrollment_trace ORDER BY 1, 2"
)
_MAILS = text("""
    SELECT told.effect_id, message.email_digest
    FROM workflow_messages AS told LEFT JOIN messages AS message ON message.id = told.message_id
""")
_COUNTS = text("SELECT workflow_id, version, step_id, what, reason, number FROM workflow_counts")
_USED = text("SELECT coalesce(sum(emails), 0) FROM email_usage")
_OUTBOX = text("SELECT envelope FROM outbox ORDER BY id")
_TERMINATE = """
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = %s AND state <> 'idle'
"""


class Blow(StrEnum):
    """What befalls a worker."""

    # The process ends, and another takes its place.
    PROCESS = "process"
    # The database ends what it has open.
    BACKENDS = "backends"
    # What it hears is cut off.
    HANDLER = "handler"


@dataclass(frozen=True)
class Cut:
    """A blow to a worker, so many milliseconds after the one before."""

    after: int
    blow: Blow
    worker: int


@dataclass(frozen=True)
class Refusal:
    """Somebody's address comes onto the list, so many milliseconds after the turn begins: where they are, or the other one."""

    after: int
    who: int
    elsewhere: bool


@dataclass(frozen=True, eq=False)
class Notice:
    """An event on its way to the workers, and what it means."""

    id: UUID
    message: Message
    at: datetime
    told: Told


Deed: TypeAlias = Callable[[], Awaitable[Told | None]]


@dataclass(frozen=True)
class Site:
    """What stories are lived on: of each worker a pool of its own, whose connections have the worker's name."""

    found: Callable[[], Tenant]
    databases: Mapping[str, Database]
    scheduler: RoleDatabase
    allowances: IdentityPeer
    admin: psycopg.AsyncConnection[Any]


class _FarNeighbours(Neighbours):
    """Neighbours who take their time to answer, as others' processes do: meanwhile people opt out."""

    async def describe(
        self,
        context: RequestContext,
        questions: Sequence[Question],
        rules: Sequence[Rule],
        custom_fields: Iterable[str],
    ) -> Sequence[Description]:
        await asyncio.sleep(0.003)
        return await super().describe(context, questions, rules, custom_fields)


class _Worker:
    """A workflows process, less its bus."""

    def __init__(self, site: Site, name: str, story: "Story") -> None:
        database, people = site.databases[name], story.neighbours
        advancing = Advancing(database, people, site.allowances, story.clock)
        self.name = name
        self.runner = RunnerOf(story.tenant.context.organization, site.scheduler, advancing, _SIZE)
        happenings = Happenings(database, people, advancing, self.runner)
        self._consumers = happenings.consumers(None)  # type: ignore[arg-type]
        self._running: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._running = asyncio.create_task(self.runner.run())

    async def end(self) -> None:
        """At once, wherever it is."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    async def hear(self, envelope: Envelope) -> None:
        for consumer in self._consumers:
            await consumer.handle(envelope.SerializeToString())


class Story:
    """One organization, its contacts and workflows."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.tenant = site.found()
        self.clock = MovedClock(BEGINNING)
        self.neighbours = _FarNeighbours()
        self.people = [
            Neighbour(f"{name}@one.test", zone=zone) for name, zone in zip(NAMES, _ZONES, strict=True)
        ]
        self.neighbours.add(*self.people)
        people = {person.id: person for person in self.people}
        self.world = World(BEGINNING, self.neighbours, people)
        self.workflows: list[UUID] = []
        self.lived: Counter[str] = Counter()
        self._workers = [_Worker(site, name, self) for name in site.databases]
        self._passages: defaultdict[tuple[UUID, UUID], Passages] = defaultdict(tuple)
        self._waiting: list[Notice] = []
        self._told: list[Notice] = []
        self._received: set[UUID] = set()
        self._handing: asyncio.Task[None] | None = None
        self._heard = 0
        self._mails: set[UUID] = set()
        self._orders: list[tuple[UUID, ChangeContacts]] = []

    # --- between turns ---------------------------------------------------------------------------------------------------------

    async def start(self, document: pb.WorkflowDocument) -> None:
        """One more workflow, which is active."""
        async with self.tenant.database.tenant_transaction(self.tenant.context) as session:
            created = await create_workflow(session, "Story", document)
            await activate_workflow(session, created)
        self.workflows.append(created.id)
        self.world.runs[created.id] = Run([Version(1, document)])

    async def edit(self, which: int, document: pb.WorkflowDocument) -> None:
        """Another version of it; who is under way stays on theirs."""
        workflow_id = self._workflow(which)
        versions = self.world.runs[workflow_id].versions
        async with self.tenant.database.tenant_transaction(self.tenant.context) as session:
            seen = await get_workflow(session, workflow_id)
            changed = await change_document(session, seen, document, None)
        if changed.version > len(versions):
            versions.append(Version(changed.version, document))

    async def switch(self, which: int) -> None:
        """Pause it, or let it go on."""
        run = self.world.runs[self._workflow(which)]
        async with self.tenant.database.tenant_transaction(self.tenant.context) as session:
            if run.active:
                await pause_workflow(session, self._workflow(which))
            else:
                await activate_workflow(session, await get_workflow(session, self._workflow(which)))
        run.active = not run.active

    def pass_time(self, seconds: float) -> None:
        self.clock.move(seconds=seconds)
        self.world.moment = self.clock()

    def carry_out(self, picks: Sequence[int]) -> None:
        """Let contacts carry out some of what was ordered, in any order and again."""
        for pick in picks if self._orders else ():
            event_id, order = self._orders[pick % len(self._orders)]
            try:
                self.neighbours.carry_out(event_id, order)
            except Unavailable:
                self.lived["orders too early"] += 1

    def move(self, who: int) -> None:
        """To their other address, and back."""
        person = self.people[who]
        if self.neighbours.present(person.id) is None:
            return
        old, person.email = person.digest, _other(person.email)
        changed = contacts.AddressChanged(
            contact_id=str(person.id), old_email_digest=old, new_email_digest=person.digest
        )
        self._notify(changed, Moved(person.id))

    def erase(self, who: int) -> None:
        person = self.people[who]
        if self.neighbours.present(person.id) is not None:
            self.neighbours.remove(person)
            told = contacts.ContactsDeleted(contact_ids=[str(person.id)], email_digests=[person.digest])
            self._notify(told, Erased(person.id))

    async def come_back(self, who: int) -> None:
        """Off the list, unless they opted out themselves."""
        person = self.people[who]
        if self.world.suppressed.get(person.digest) in (
            SuppressionReason.MANUAL,
            SuppressionReason.HARD_BOUNCE,
        ):
            del self.world.suppressed[person.digest]
            await self.tenant.rows(
                "DELETE FROM suppressions WHERE email_digest = :digest", digest=person.digest
            )
            subscribed = contacts.ContactsSubscribed()
            subscribed.contacts.add(id=str(person.id))
            self._notify_happened(subscribed, EventKind.CONTACT_SUBSCRIBED, person)

    def happen_as_wanted(self, who: int, which: int) -> None:
        """Something that some workflow begins with or waits for, if any does."""
        newest = [run.versions[-1].document for run in self.world.runs.values()]
        kinds = [str(document.trigger.WhichOneof("trigger")) for document in newest]
        kinds += [str(wanted.WhichOneof("event")) for document in newest for wanted in awaits(document)]
        self.happen(EventKind(kinds[which % len(kinds)]), who, which)

    def happen(self, kind: EventKind, who: int, which: int) -> None:
        """Something, which workers are told of later."""
        person = self.people[who]
        if self.neighbours.present(person.id) is None:
            return
        match kind:
            case EventKind.LIST_JOINED:
                person.lists.add(LIST)
                self._notify_happened(
                    contacts.ListJoined(list_id=LIST, contact_ids=[str(person.id)]), kind, person, LIST
                )
            case EventKind.TAG_ADDED:
                person.tags.add(TAG)
                self._notify_happened(
                    contacts.TagAdded(tag_id=TAG, contact_ids=[str(person.id)]), kind, person, TAG
                )
            case EventKind.TAG_REMOVED:
                person.tags.discard(TAG)
                self._notify_happened(
                    contacts.TagRemoved(tag_id=TAG, contact_ids=[str(person.id)]), kind, person, TAG
                )
            case EventKind.SEGMENT_ENTERED:
                self._notify_happened(
                    contacts.SegmentEntered(segment_id=SEGMENT, contact_ids=[str(person.id)]),
                    kind,
                    person,
                    SEGMENT,
                )
            case EventKind.FORM_SUBMITTED:
                submitted = contacts.FormSubmitted(form_id=FORM)
                submitted.contact.id = str(person.id)
                self._notify_happened(submitted, kind, person, FORM)
            case EventKind.CONTACT_CREATED:
                created = contacts.ContactsCreated()
                created.contacts.add(id=str(person.id))
                self._notify_happened(created, kind, person)
            case EventKind.FIELD_CHANGED:
                updated = contacts.ContactsUpdated(
                    changed=[contacts.ChangedFields(names=["custom_fields.plan"])]
                )
                updated.contacts.add(id=str(person.id))
                self._notify_happened(updated, kind, person, "custom_fields.plan")
            case EventKind.CUSTOM_EVENT:
                custom = sending.CustomEventsTold()
                custom.events.add(name="ordered", contact_id=str(person.id), occurred_at=self.clock())
                self._notify_happened(custom, kind, person, "ordered")
            case EventKind.EMAIL_OPENED | EventKind.EMAIL_CLICKED:
                self._engage(kind, which)

    def _engage(self, kind: EventKind, which: int) -> None:
        """Something with a mail that a step sent."""
        sent = [
            (passage.enrollment, effect)
            for passages in self._passages.values()
            for passage in passages
            for effect in passage.effects
            if effect.kind == "send_email"
        ]
        if not sent:
            return
        enrollment, effect = sent[which % len(sent)]
        told = sending.EmailsOpened() if kind is EventKind.EMAIL_OPENED else sending.EmailsClicked()
        told.engagements.add(
            contact_id=str(enrollment.contact_id),
            enrollment_id=str(enrollment.id),
            step_id=effect.step_id,
            occurred_at=self.clock(),
        )
        event = Event(kind, enrollment.contact_id, self.clock(), effect.step_id, enrollment.id)
        self._notify(told, Happened((event,)))

    # --- a turn ----------------------------------------------------------------------------------------------------------------

    async def turn(
        self,
        *deeds: Deed,
        cuts: Sequence[Cut] = (),
        refusing: Refusal | None = None,
        whole: bool = False,
    ) -> None:
        """Let both workers work while the deeds are done, one after another, and somebody may opt out; and see what came of it.

        They are cut off at last, unless it is to be `whole`: then they come as far as they can.
        """
        before = replace(self.world, suppressed=dict(self.world.suppressed))
        for worker in self._workers:
            worker.start()
        doing = asyncio.create_task(self._do(deeds))
        refused = asyncio.create_task(self._refuse(refusing))
        for cut in cuts:
            await asyncio.sleep(cut.after / 1000)
            await self._strike(cut)
        told = await doing
        await refused
        await asyncio.gather(*(worker.end() for worker in self._workers))
        self._workers = [_Worker(self._site, worker.name, self) for worker in self._workers]
        if whole:
            await asyncio.gather(*(worker.runner.look() for worker in self._workers))
            await asyncio.gather(*(worker.runner.settled() for worker in self._workers))
        await self._look(told, [before, self.world] if refusing is not None else [before])

    def telling(self, picks: Sequence[int]) -> list[Deed]:
        """Of events that were not told yet, and of those that were, some."""
        deeds: list[Deed] = []
        for pick in picks:
            if all_ := [*self._waiting, *self._told[-5:]]:
                notice = all_[pick % len(all_)]
                if notice in self._waiting:
                    self._waiting.remove(notice)
                    self._told.append(notice)
                deeds.append(partial(self._tell, notice))
        return deeds

    def inviting(self, which: int, people: Sequence[int]) -> Deed:
        """Let people in, unless the workflow is paused."""
        return lambda: self._invite(self._workflow(which), [self.people[who] for who in people])

    async def finish(self) -> None:
        """Tell all, carry out all, and let everybody come as far as they come, now and on the days after."""
        for which, workflow_id in enumerate(self.workflows):
            if not self.world.runs[workflow_id].active:
                await self.switch(which)
        for _ in range(3):
            await self.turn(*self.telling([0] * len(self._waiting)))
            await self._settle()
            self._everybody_is_where_they_belong()
            self.pass_time(100_000)

    async def _settle(self) -> None:
        for _ in range(_PATIENCE):
            self.carry_out(range(len(self._orders)))
            self.pass_time(1)
            await self.turn(whole=True)
            if not any(self._can_step(*key) for key in self._passages):
                return
        raise AssertionError("somebody is due, and nobody takes them on")

    def _can_step(self, workflow_id: UUID, contact_id: UUID) -> bool:
        passages = self._passages[workflow_id, contact_id]
        return bool(passages) and self.world.step(workflow_id, passages[-1]) is not None

    def _everybody_is_where_they_belong(self) -> None:
        for (_, contact_id), passages in self._passages.items():
            for passage in passages:
                if passage.is_under_way:
                    person = self.neighbours.present(contact_id)
                    assert person is not None, "is erased, and still under way"
                    assert passage.digest == person.digest
                    assert passage.digest not in self.world.suppressed

    def _workflow(self, which: int) -> UUID:
        return self.workflows[which % len(self.workflows)]

    def _notify_happened(self, message: Message, kind: EventKind, person: Neighbour, of: str = "") -> None:
        self._notify(message, Happened((Event(kind, person.id, self.clock(), of),)))

    def _notify(self, message: Message, told: Told) -> None:
        self._waiting.append(Notice(new_id(), message, self.clock(), told))

    async def _do(self, deeds: Sequence[Deed]) -> list[Told]:
        done = [await deed() for deed in deeds]
        return [told for told in done if told is not None]

    async def _refuse(self, refusal: Refusal | None) -> None:
        """Somebody opts out, or a mailbox is gone."""
        if refusal is None:
            return
        person, reason = self.people[refusal.who], _REASONS[refusal.who % len(_REASONS)]
        digest = EmailAddress.parse(_other(person.email)).digest if refusal.elsewhere else person.digest
        await asyncio.sleep(refusal.after / 1000)
        async with self.tenant.database.tenant_transaction(self.tenant.context) as session:
            await suppress(session, [Suppressed(digest, reason)])
        self.world.suppressed[digest] = reason
        told = AddressesSuppressed(addresses=[SuppressedAddress(digest=digest)])
        self._notify(told, Refused(frozenset([digest])))

    async def _invite(self, workflow_id: UUID, people: Sequence[Neighbour]) -> Told | None:
        run = self.world.runs[workflow_id]
        there = [person for person in people if self.neighbours.present(person.id)]
        if not run.active or not there:
            return None
        async with self.tenant.database.tenant_transaction(self.tenant.context) as session:
            await enroll(
                session,
                workflow_id,
                run.versions[-1],
                [person.enrollee for person in there],
                source=Source.API,
                moment=self.clock(),
            )
        return Invited(workflow_id, frozenset(person.id for person in there))

    async def _tell(self, notice: Notice) -> Told | None:
        envelope = Envelope(
            id=str(notice.id),
            organization_id=str(self.tenant.context.organization),
            type=notice.message.DESCRIPTOR.full_name,
            payload=notice.message.SerializeToString(),
        )
        envelope.occurred_at.FromDatetime(notice.at)
        await self._hand_over(envelope)
        self.lived["told"] += 1
        if not isinstance(notice.told, Happened):
            return notice.told
        # What concerns nobody is not noted, and may concern somebody when it comes again.
        if notice.id in self._received or not self.world.listens(notice.told.events):
            return None
        self._received.add(notice.id)
        return notice.told

    async def _hand_over(self, envelope: Envelope) -> None:
        """To one worker or the other, until one of them says yes."""
        while True:
            self._heard += 1
            self._handing = asyncio.create_task(self._workers[self._heard % WORKERS].hear(envelope))
            await asyncio.wait([self._handing])
            if self._handing.cancelled() or isinstance(self._handing.exception(), Unavailable):
                self.lived["told again"] += 1
                continue
            self._handing.result()
            return

    async def _strike(self, cut: Cut) -> None:
        self.lived[cut.blow] += 1
        worker = self._workers[cut.worker]
        match cut.blow:
            case Blow.PROCESS:
                await worker.end()
                self._workers[cut.worker] = _Worker(self._site, worker.name, self)
                self._workers[cut.worker].start()
            case Blow.BACKENDS:
                ended = await (await self._site.admin.execute(_TERMINATE, [worker.name])).fetchone()
                self.lived["transactions ended"] += ended[0] if ended else 0
            case Blow.HANDLER:
                if self._handing is not None:
                    self._handing.cancel()

    # --- what came of it -------------------------------------------------------------------------------------------------------

    async def _look(self, told: Sequence[Told], worlds: Sequence[World]) -> None:
        self.lived["turns"] += 1
        async with self.tenant.database.tenant_transaction(self.tenant.context, read_only=True) as session:
            enrollments = (await session.execute(_ENROLLMENTS)).all()
            lines = (await session.execute(_LINES)).all()
            mails = (await session.execute(_MAILS)).all()
            counts = (await session.execute(_COUNTS)).all()
            used = await session.scalar(_USED)
            outbox = [Envelope.FromString(row.envelope) for row in (await session.execute(_OUTBOX)).all()]
        self._explain(_seen(enrollments, lines), told, worlds)
        assert not [row for row in enrollments if row.held == "failure"], "a blow was taken for a fault"
        self._each_effect_is_there_once(mails, outbox)
        assert used == len(mails)
        for mail in mails:
            assert mail.effect_id in self._mails or bytes(mail.email_digest) not in worlds[0].suppressed
        self._mails = {row.effect_id for row in mails}
        assert {tuple(row[:-1]): row.number for row in counts} == self._expected_counts()

    def _explain(
        self, seen: Mapping[tuple[UUID, UUID], Sequence[Seen]], told: Sequence[Told], worlds: Sequence[World]
    ) -> None:
        for workflow_id in self.workflows:
            for person in self.people:
                key = workflow_id, person.id
                before, now = self._passages[key], seen.get(key, [])
                found = explained(key, before, told, now, worlds)
                assert found is not None, f"nothing comes to this:\n{now}\nfrom\n{before}\nby\n{told}"
                self.lived["steps"] += sum(len(each.lines) for each in found) - sum(
                    len(each.lines) for each in before
                )
                self._passages[key] = found

    def _each_effect_is_there_once(self, mails: Sequence[Any], outbox: Sequence[Envelope]) -> None:
        done = Counter(("send_email", row.effect_id) for row in mails)
        facts: Counter[tuple[str, str]] = Counter()
        self._orders = []
        for envelope in outbox:
            told: Any = message_type(envelope.type).FromString(envelope.payload)
            match told:
                case ChangeContacts():
                    self._orders.append((UUID(envelope.id), told))
                    done.update(
                        (str(each.WhichOneof("change")).removesuffix("_id"), UUID(bytes=each.effect_id))
                        for each in told.changes
                    )
                case NotifyMembers():
                    done.update(("notify_member", UUID(bytes=each.effect_id)) for each in told.notices)
                case CallEndpoints():
                    done.update(("call_webhook", UUID(bytes=each.effect_id)) for each in told.calls)
                case ContactsEnrolled():
                    facts.update(("enrolled", each.enrollment_id) for each in told.enrollments)
                case EnrollmentsEnded():
                    facts.update(("ended", each.enrollment_id) for each in told.enrollments)
        passages = [passage for all_ in self._passages.values() for passage in all_]
        assert done == Counter((effect.kind, effect.id) for passage in passages for effect in passage.effects)
        carried_out = Counter(self.neighbours.effects)
        assert all(number == 1 for number in carried_out.values())
        assert facts == Counter(("enrolled", str(passage.enrollment.id)) for passage in passages) + Counter(
            ("ended", str(passage.enrollment.id)) for passage in passages if not passage.is_under_way
        )
        self.lived["effects"] = len(done)
        self.lived["enrollments"] = len(passages)

    def _expected_counts(self) -> Mapping[tuple[Any, ...], int]:
        by_workflow: defaultdict[UUID, list[Any]] = defaultdict(list)
        for (workflow_id, _), passages in self._passages.items():
            by_workflow[workflow_id] += passages
        return {
            (workflow_id, *count): number
            for workflow_id, passages in by_workflow.items()
            for count, number in counts_of(passages).items()
        }


def _other(email: str) -> str:
    """Each of them has two addresses."""
    name, _, domain = email.partition("@")
    return f"{name}@{'two.test' if domain == 'one.test' else 'one.test'}"


def _seen(enrollments: Sequence[Any], lines: Sequence[Any]) -> Mapping[tuple[UUID, UUID], Sequence[Seen]]:
    of: defaultdict[UUID, list[Any]] = defaultdict(list)
    for line in lines:
        of[line.enrollment_id].append(line)
        assert line.number == len(of[line.enrollment_id])
    seen: defaultdict[tuple[UUID, UUID], list[Seen]] = defaultdict(list)
    for row in enrollments:
        versions = {line.version for line in of[row.id]} | ({row.version} if row.version else set())
        (version,) = versions
        seen[row.workflow_id, row.contact_id].append(
            Seen(
                Enrollment(row.id, row.contact_id, version, row.began_at),
                None if row.email_digest is None else bytes(row.email_digest),
                _place(row),
                row.ended_at and (row.ended_at, row.cause, row.reason),
                tuple(Trace(line.step_id, line.visit, line.at, line.why) for line in of[row.id]),
            )
        )
    return seen


def _place(row: Any) -> Ready | Waiting | None:
    if row.step_id is None:
        return None
    if row.waiting:
        return Waiting(row.step_id, row.visit, row.since, row.wake_at)
    return Ready(row.step_id, row.visit, row.since)
