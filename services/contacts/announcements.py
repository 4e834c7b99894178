"""What the rest of the platform hears about contacts: who was created, changed, deleted.

An event goes out with the transaction that made it true, and tells what its readers need to act without asking back.
"""

from collections.abc import Collection, Iterable, Iterator
from uuid import UUID

from chassis.database import TenantSession
from flownurture.contacts.v1 import contacts_pb2, events_pb2
from services.contacts.contact_messages import as_message
from services.contacts.contact_rows import Contact, read_contacts

# An event holds as many as the contract allows, and half the bytes that NATS takes in a message.
_MOST_CONTACTS = 500
_MOST_BYTES = 500_000


def announce_created(session: TenantSession, created: Iterable[Contact]) -> None:
    """Tell of new contacts."""
    for batch in _batches(created):
        session.publish(events_pb2.ContactsCreated(contacts=batch))


def announce_updated(session: TenantSession, updated: Iterable[Contact]) -> None:
    """Tell what contacts are like now that they have changed."""
    for batch in _batches(updated):
        session.publish(events_pb2.ContactsUpdated(contacts=batch))


async def announce_updated_by_id(session: TenantSession, ids: Collection[UUID]) -> None:
    """Read what contacts are like after a change, and tell of it."""
    if ids:
        announce_updated(session, await read_contacts(session, ids))


def announce_deleted(session: TenantSession, contact_id: UUID) -> None:
    """Tell that a contact is gone."""
    session.publish(events_pb2.ContactsDeleted(contact_ids=[str(contact_id)]))


def _batches(contacts: Iterable[Contact]) -> Iterator[list[contacts_pb2.Contact]]:
    batch: list[contacts_pb2.Contact] = []
    size = 0
    for contact in contacts:
        message = as_message(contact)
        if batch and (len(batch) == _MOST_CONTACTS or size + message.ByteSize() > _MOST_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(message)
        size += message.ByteSize()
    if batch:
        yield batch
