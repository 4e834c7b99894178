"""Events in: what the suppression list says of addresses shows in the status of contacts, what mail does in their timeline; and the
orders of workflows.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from uuid import UUID

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from chassis.consumer import Consumer, Handler, transactional
from chassis.context import RequestContext
from chassis.database import Database, TenantSession
from chassis.erasure import Erasures
from chassis.events import EventBus
from chassis.identifiers import parse_id
from flownurture.delivery.v1.events_pb2 import MessageOutcome, MessagesSettled
from flownurture.identity.v1.events_pb2 import OrganizationErased
from flownurture.sending.v1 import messages_pb2
from flownurture.sending.v1.events_pb2 import EmailsClicked, EmailsOpened
from flownurture.suppression.v1 import events_pb2
from flownurture.workflows.v1.events_pb2 import ChangeContacts, SegmentsWatched
from flownurture.workflows.v1.events_pb2 import ContactChange as ContactChangeMessage
from services.contacts.announcements import announce_statuses
from services.contacts.change_orders import READER, require_carried_out
from services.contacts.engagements import Engaged, take_in
from services.contacts.events import Origin, Source
from services.contacts.field_settings import FieldSetting, setting_of
from services.contacts.moves import Move
from services.contacts.ordered_changes import ContactChange, Moved, carry_out
from services.contacts.rules import Engagement
from services.contacts.segment_watches import watch
from services.contacts.statuses import Reason, record

# A manual suppression keeps mail from an address and says nothing about the contact.
_REASONS = {
    messages_pb2.SUPPRESSION_REASON_UNSUBSCRIBE: Reason.UNSUBSCRIBE,
    messages_pb2.SUPPRESSION_REASON_HARD_BOUNCE: Reason.HARD_BOUNCE,
    messages_pb2.SUPPRESSION_REASON_COMPLAINT: Reason.COMPLAINT,
}

_OUTCOMES = {
    messages_pb2.MESSAGE_STATUS_SENT: Engagement.RECEIVED,
    messages_pb2.MESSAGE_STATUS_BOUNCED: Engagement.BOUNCED,
}


_MOVES = {
    "add_tag_id": Move.ADD_TAG,
    "remove_tag_id": Move.REMOVE_TAG,
    "add_to_list_id": Move.ADD_TO_LIST,
    "remove_from_list_id": Move.REMOVE_FROM_LIST,
}


def consumers(bus: EventBus, database: Database) -> list[Consumer]:
    """Readers of the streams SUPPRESSION, DELIVERY, SENDING and WORKFLOWS, and of the orders in CONTACT_CHANGES."""
    handlers: dict[str, dict[type[Message], Handler]] = {
        "SUPPRESSION": {
            events_pb2.AddressesSuppressed: transactional(on_addresses_suppressed),
            events_pb2.SuppressionsLifted: transactional(on_suppressions_lifted),
        },
        "DELIVERY": {MessagesSettled: transactional(on_messages_settled)},
        "SENDING": {
            EmailsOpened: transactional(on_emails_opened),
            EmailsClicked: transactional(on_emails_clicked),
        },
        "WORKFLOWS": {SegmentsWatched: transactional(on_segments_watched)},
        "CONTACT_CHANGES": {ChangeContacts: transactional(on_change_contacts)},
    }
    return [
        Consumer(bus, stream=stream, durable=READER, database=database, handlers=handled)
        for stream, handled in handlers.items()
    ]


def identity_consumer(bus: EventBus, database: Database, erasures: Erasures) -> Consumer:
    """Reads the IDENTITY stream: who is erased."""
    return Consumer(
        bus,
        stream="IDENTITY",
        durable=READER,
        database=database,
        handlers={OrganizationErased: erasures.handler},
    )


async def on_addresses_suppressed(
    event: events_pb2.AddressesSuppressed, context: RequestContext, session: TenantSession
) -> None:
    """Contacts with these addresses take the status that follows, and so do those who will have them later."""
    await _take_in(session, event.addresses, in_force=True, event_id=UUID(context.request_id))


async def on_suppressions_lifted(
    event: events_pb2.SuppressionsLifted, context: RequestContext, session: TenantSession
) -> None:
    """Contacts with these addresses take the status that follows from the reasons that are left."""
    await _take_in(session, event.addresses, in_force=False, event_id=UUID(context.request_id))


async def on_messages_settled(
    event: MessagesSettled, context: RequestContext, session: TenantSession
) -> None:
    """Contacts have received mail, or it bounced."""
    await take_in(session, [_settled(outcome) for outcome in event.outcomes if _is_told(outcome)])


async def on_emails_opened(event: EmailsOpened, context: RequestContext, session: TenantSession) -> None:
    """Contacts have opened mail."""
    await _engaged(session, Engagement.OPENED, event)


async def on_emails_clicked(event: EmailsClicked, context: RequestContext, session: TenantSession) -> None:
    """Contacts have followed links in mail."""
    await _engaged(session, Engagement.CLICKED, event)


async def on_segments_watched(
    event: SegmentsWatched, context: RequestContext, session: TenantSession
) -> None:
    """These segments are watched from now on, and no others."""
    await watch(session, {parse_id(segment_id) for segment_id in event.segment_ids}, UUID(context.request_id))


async def on_change_contacts(event: ChangeContacts, context: RequestContext, session: TenantSession) -> None:
    """Steps of a workflow change contacts. Raises Unavailable while what was ordered before is outstanding."""
    before = {UUID(bytes=change.after_change_id) for change in event.changes if change.after_change_id}
    await require_carried_out(session, before)
    await carry_out(
        session, [change for ordered in event.changes if (change := _change(ordered)) is not None]
    )


def _change(ordered: ContactChangeMessage) -> ContactChange | None:
    """None for a setting of no field."""
    kind = str(ordered.WhichOneof("change"))
    if kind == "set_field":
        wanted = ordered.set_field
        what: Moved | FieldSetting | None = setting_of(
            wanted.field, wanted.value if wanted.HasField("value") else None
        )
    else:
        workflow_id = UUID(bytes=ordered.workflow_id) if ordered.workflow_id else None
        what = Moved(_MOVES[kind], parse_id(getattr(ordered, kind)), Origin(Source.WORKFLOW, workflow_id))
    return None if what is None else ContactChange(UUID(bytes=ordered.contact_id), what)


def _is_told(outcome: MessageOutcome) -> bool:
    return bool(outcome.contact_id) and outcome.status in _OUTCOMES


def _settled(outcome: MessageOutcome) -> Engaged:
    return Engaged(
        _OUTCOMES[outcome.status],
        parse_id(outcome.contact_id),
        parse_id(outcome.message_id),
        parse_id(outcome.campaign_id) if outcome.campaign_id else None,
        _moment(outcome.occurred_at),
    )


async def _engaged(session: TenantSession, kind: Engagement, event: EmailsOpened | EmailsClicked) -> None:
    await take_in(
        session,
        [
            Engaged(
                kind,
                parse_id(each.contact_id),
                parse_id(each.message_id),
                parse_id(each.campaign_id) if each.campaign_id else None,
                _moment(each.occurred_at),
                each.url,
            )
            for each in event.engagements
            if each.contact_id
        ],
    )


def _moment(timestamp: Timestamp) -> datetime:
    return timestamp.ToDatetime(tzinfo=UTC)


async def _take_in(
    session: TenantSession,
    addresses: Iterable[events_pb2.SuppressedAddress],
    *,
    in_force: bool,
    event_id: UUID,
) -> None:
    facts = [
        (address.digest, _REASONS[address.reason]) for address in addresses if address.reason in _REASONS
    ]
    if facts:
        changed = await record(session, facts, in_force=in_force, event_id=event_id)
        await announce_statuses(session, changed)
