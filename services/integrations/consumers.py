"""Events in: what changes in contacts is what a CRM must hear of."""

from typing import TypeAlias
from uuid import UUID

from chassis.consumer import Consumer, transactional
from chassis.context import RequestContext
from chassis.database import Database, TenantSession
from chassis.erasure import Erasures
from chassis.events import EventBus
from chassis.identifiers import parse_id
from flownurture.contacts.v1.events_pb2 import (
    ContactsCreated,
    ContactsDeleted,
    ContactsSubscribed,
    ContactsUnsubscribed,
    ContactsUpdated,
)
from flownurture.identity.v1.events_pb2 import OrganizationErased
from services.integrations.mail_events import opted_out
from services.integrations.sync import activities, outgoing_changes
from services.integrations.sync.links import cut

ContactsChanged: TypeAlias = ContactsCreated | ContactsUpdated | ContactsSubscribed | ContactsUnsubscribed


def contacts_consumer(bus: EventBus, database: Database) -> Consumer:
    """Reads the CONTACTS stream."""
    return Consumer(
        bus,
        stream="CONTACTS",
        durable="integrations",
        database=database,
        handlers={
            ContactsCreated: transactional(on_contacts_changed),
            ContactsUpdated: transactional(on_contacts_changed),
            ContactsSubscribed: transactional(on_contacts_changed),
            ContactsUnsubscribed: transactional(on_contacts_unsubscribed),
            ContactsDeleted: transactional(on_contacts_deleted),
        },
    )


def identity_consumer(bus: EventBus, database: Database, erasures: Erasures) -> Consumer:
    """Reads the IDENTITY stream: who is erased."""
    return Consumer(
        bus,
        stream="IDENTITY",
        durable="integrations",
        database=database,
        handlers={OrganizationErased: erasures.handler},
    )


async def on_contacts_changed(
    event: ContactsChanged, context: RequestContext, session: TenantSession
) -> None:
    """CRMs are to be told of them at the next sync, but for the one from which it came."""
    ids = {parse_id(contact.id) for contact in event.contacts}
    await outgoing_changes.note(session, ids, UUID(context.request_id), told_by=_told_by(event))


async def on_contacts_unsubscribed(
    event: ContactsUnsubscribed, context: RequestContext, session: TenantSession
) -> None:
    """And may show it."""
    await on_contacts_changed(event, context, session)
    await activities.note(session, opted_out(event, UUID(context.request_id)))


async def on_contacts_deleted(
    event: ContactsDeleted, context: RequestContext, session: TenantSession
) -> None:
    """They are told of no more, and no edit in a CRM brings them back."""
    ids = {parse_id(contact_id) for contact_id in event.contact_ids}
    await activities.forget(session, ids)
    await cut(session, ids)
    await outgoing_changes.forget(session, ids)


def _told_by(event: ContactsChanged) -> UUID | None:
    if isinstance(event, ContactsCreated | ContactsUpdated) and event.connection_id:
        return UUID(bytes=event.connection_id)
    return None
