"""Events in: what brings contacts into workflows, what they wait for there, and why they leave."""

from collections import defaultdict
from collections.abc import Sequence
from uuid import UUID

from google.protobuf.message import Message

from chassis.consumer import Consumer, Handler, Inbox, idempotent
from chassis.context import RequestContext
from chassis.database import Database, TenantSession
from chassis.events import EventBus
from chassis.identifiers import parse_id
from flownurture.contacts.v1.events_pb2 import AddressChanged, ContactsDeleted
from flownurture.suppression.v1.events_pb2 import AddressesSuppressed
from services.sending.workflows.advancing import Advancing
from services.sending.workflows.claims import claim_by_id, claim_of_addresses, claim_of_contacts
from services.sending.workflows.enrolling import Enrollee, Source, enroll
from services.sending.workflows.events import Event, begins
from services.sending.workflows.forgetting import follow_to_address, forget_addresses, hold_contacts
from services.sending.workflows.happenings import READINGS, Reading
from services.sending.workflows.listening import Listening, contacts_of, listening_for
from services.sending.workflows.people import People, Person, Question
from services.sending.workflows.runner import Runner
from services.sending.workflows.versions import read_versions


class Happenings:
    """Lets contacts come into workflows, go on in them and leave, on what the other services tell."""

    def __init__(self, database: Database, people: People, advancing: Advancing, runner: Runner) -> None:
        self._database = database
        self._people = people
        self._advancing = advancing
        self._runner = runner

    def consumers(self, bus: EventBus) -> list[Consumer]:
        """Readers of the streams CONTACTS, SENDING and SUPPRESSION."""
        handlers: dict[str, dict[type[Message], Handler]] = {
            stream: {event: self._reading(reading) for event, reading in readings.items()}
            for stream, readings in READINGS.items()
        }
        handlers["CONTACTS"] |= {
            ContactsDeleted: idempotent(self._on_contacts_deleted),
            AddressChanged: idempotent(self._on_address_changed),
        }
        handlers["SUPPRESSION"] = {AddressesSuppressed: idempotent(self._on_addresses_suppressed)}
        return [
            Consumer(bus, stream=stream, durable="workflows", database=self._database, handlers=handled)
            for stream, handled in handlers.items()
        ]

    def _reading(self, reading: Reading) -> Handler:
        async def on_told(told: Message, context: RequestContext, inbox: Inbox) -> None:
            if events := list(reading(told, inbox.occurred_at)):
                await self._on_events(events, context, inbox)

        return on_told

    async def _on_events(self, events: Sequence[Event], context: RequestContext, inbox: Inbox) -> None:
        async with self._database.tenant_transaction(context, read_only=True) as session:
            listening = await listening_for(session, events)
        # Most events concern nobody.
        if not listening:
            return
        enrollees = await self._enrollees(events, context) if listening.begins else {}
        async with self._database.tenant_transaction(context) as session:
            if not await inbox.receive(session):
                return
            await self._go_on(session, events, listening)
            await self._come_in(session, events, listening, enrollees)
        for workflow_id in {workflow_id for workflow_id, _ in (*listening.begins, *listening.waits)}:
            self._runner.wake(context.organization, workflow_id)

    async def _enrollees(self, events: Sequence[Event], context: RequestContext) -> dict[UUID, Enrollee]:
        """Those of the contacts that exist, with where mail reaches them."""
        questions = [Question(contact_id) for contact_id in contacts_of(events)]
        described = await self._people.describe(context, questions, (), ())
        return {
            each.recipient.contact_id: Enrollee(each.recipient.contact_id, each.recipient.digest)
            for each in described
            if isinstance(each, Person)
        }

    async def _go_on(self, session: TenantSession, events: Sequence[Event], listening: Listening) -> None:
        if not listening.waits:
            return
        by_contact: defaultdict[UUID, list[Event]] = defaultdict(list)
        for event in events:
            by_contact[event.contact_id].append(event)
        claimed = await claim_of_contacts(session, list(by_contact), listening.waits)
        await self._advancing.happen(session, claimed, by_contact)

    async def _come_in(
        self,
        session: TenantSession,
        events: Sequence[Event],
        listening: Listening,
        enrollees: dict[UUID, Enrollee],
    ) -> None:
        versions = await read_versions(session, listening.begins)
        for (workflow_id, _), version in sorted(versions.items()):
            trigger = version.document.trigger
            wanted = contacts_of([event for event in events if begins(trigger, event)])
            people = [enrollees[contact_id] for contact_id in wanted if contact_id in enrollees]
            await enroll(
                session, workflow_id, version, people, source=Source.EVENT, moment=self._advancing.moment
            )

    async def _on_addresses_suppressed(self, event: AddressesSuppressed, context: RequestContext) -> None:
        async with self._database.tenant_transaction(context) as session:
            claimed = await claim_of_addresses(session, [address.digest for address in event.addresses])
            await self._advancing.leave_suppressed(session, claimed)

    async def _on_contacts_deleted(self, event: ContactsDeleted, context: RequestContext) -> None:
        contact_ids = list(map(parse_id, event.contact_ids))
        async with self._database.tenant_transaction(context) as session:
            await hold_contacts(session, contact_ids)
            forgotten = await forget_addresses(session, contact_ids)
            await self._advancing.leave_suppressed(session, await claim_by_id(session, forgotten))

    async def _on_address_changed(self, event: AddressChanged, context: RequestContext) -> None:
        contact_id = parse_id(event.contact_id)
        async with self._database.tenant_transaction(context) as session:
            if not await hold_contacts(session, [contact_id]):
                return
            # They may have moved on since: whoever holds them last asks last.
            (person,) = await self._people.describe(context, [Question(contact_id)], (), ())
            if not isinstance(person, Person):
                return
            moved = await follow_to_address(session, contact_id, person.recipient.digest)
            # What was refused at the new address holds for them from now on.
            await self._advancing.leave_suppressed(session, await claim_by_id(session, moved))
