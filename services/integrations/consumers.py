"""Events in: what changes in contacts is what a CRM must hear of."""

from uuid import UUID

from chassis.consumer import Consumer, transactional
from chassis.context import RequestContext
from chassis.database import Database, TenantSession
from chassis.events import EventBus
from chassis.identifiers import parse_id
from flownurture.contacts.v1.events_pb2 import ContactsCreated, ContactsDeleted, ContactsUpdated
from services.integrations.contact_changes import ChangeKind, note


def contacts_consumer(bus: EventBus, database: Database) -> Consumer:
    """Reads the CONTACTS stream."""
    return Consumer(
        bus,
        stream="CONTACTS",
        durable="integrations",
        database=database,
        handlers={
            ContactsCreated: transactional(on_contacts_upserted),
            ContactsUpdated: transactional(on_contacts_upserted),
            ContactsDeleted: transactional(on_contacts_deleted),
        },
    )


async def on_contacts_upserted(
    event: ContactsCreated | ContactsUpdated, context: RequestContext, session: TenantSession
) -> None:
    """They are to be written to the CRM at the next sync."""
    ids = {parse_id(contact.id) for contact in event.contacts}
    await note(session, ids, ChangeKind.UPSERTED, UUID(context.request_id))


async def on_contacts_deleted(
    event: ContactsDeleted, context: RequestContext, session: TenantSession
) -> None:
    """They are to be taken out of the CRM at the next sync."""
    ids = {parse_id(contact_id) for contact_id in event.contact_ids}
    await note(session, ids, ChangeKind.DELETED, UUID(context.request_id))
