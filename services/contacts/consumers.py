"""Events in: what the suppression list says of addresses shows in the status of their contacts."""

from collections.abc import Iterable
from uuid import UUID

from chassis.consumer import Consumer, transactional
from chassis.context import RequestContext
from chassis.database import Database, TenantSession
from chassis.events import EventBus
from flownurture.sending.v1 import messages_pb2
from flownurture.suppression.v1 import events_pb2
from services.contacts.announcements import announce_updated_by_id
from services.contacts.statuses import Reason, record

# A manual suppression keeps mail from an address and says nothing about the contact.
_REASONS = {
    messages_pb2.SUPPRESSION_REASON_UNSUBSCRIBE: Reason.UNSUBSCRIBE,
    messages_pb2.SUPPRESSION_REASON_HARD_BOUNCE: Reason.HARD_BOUNCE,
    messages_pb2.SUPPRESSION_REASON_COMPLAINT: Reason.COMPLAINT,
}


def suppression_consumer(bus: EventBus, database: Database) -> Consumer:
    """Reads the SUPPRESSION stream."""
    return Consumer(
        bus,
        stream="SUPPRESSION",
        durable="contacts",
        database=database,
        handlers={
            events_pb2.AddressesSuppressed: transactional(on_addresses_suppressed),
            events_pb2.SuppressionsLifted: transactional(on_suppressions_lifted),
        },
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
        await announce_updated_by_id(session, changed)
