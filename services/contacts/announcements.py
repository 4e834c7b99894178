"""What the rest of the platform hears about contacts: who was created, changed, deleted.

An event goes out with the transaction that made it true, and tells what its readers need to act without asking back.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from chassis.database import TenantSession
from flownurture.contacts.v1 import contacts_pb2, events_pb2
from services.contacts.changed_fields import ChangedFields
from services.contacts.contact_messages import SOURCES, as_message
from services.contacts.contact_rows import Contact, read_contacts
from services.contacts.events import Origin, Source
from services.contacts.statuses import Status

# An event holds as many as the contract allows, and half the bytes that NATS takes in a message.
_MOST_CONTACTS = 500
_MOST_BYTES = 500_000

_Told = TypeVar("_Told")


def announce_created(session: TenantSession, created: Iterable[contacts_pb2.Contact], origin: Origin) -> None:
    """Tell of new contacts."""
    for batch in _batches_of(created, contacts_pb2.Contact.ByteSize):
        session.publish(
            events_pb2.ContactsCreated(
                contacts=batch, source=SOURCES[origin.source], connection_id=_connection(origin)
            )
        )


def announce_updated(
    session: TenantSession, updated: Iterable[Contact], changed: ChangedFields, origin: Origin | None = None
) -> None:
    """Tell what contacts are like now that they have changed, and which of their own fields did; of a sync, whose."""
    told = (
        (as_message(contact), events_pb2.ChangedFields(names=changed.get(contact.id, ())))
        for contact in updated
    )
    for batch in _batches_of(told, lambda pair: pair[0].ByteSize() + pair[1].ByteSize()):
        session.publish(
            events_pb2.ContactsUpdated(
                contacts=[contact for contact, _ in batch],
                changed=[fields for _, fields in batch],
                connection_id=_connection(origin),
            )
        )


def _connection(origin: Origin | None) -> bytes:
    if origin is None or origin.source is not Source.SYNC or origin.id is None:
        return b""
    return origin.id.bytes


async def announce_moved(session: TenantSession, ids: Collection[UUID]) -> None:
    """Read what contacts are like that have other lists or tags than before, and tell of it."""
    if ids:
        announce_updated(session, await read_contacts(session, ids), {})


async def announce_statuses(session: TenantSession, ids: Collection[UUID]) -> None:
    """Tell of contacts whose status changed: who opted out, who is back, and what they all are like now."""
    if not ids:
        return
    changed = await read_contacts(session, ids)
    announce_updated(session, changed, dict.fromkeys(ids, ("status",)))
    for batch in _batches(contact for contact in changed if contact.status == Status.SUBSCRIBED.value):
        session.publish(events_pb2.ContactsSubscribed(contacts=batch))
    for batch in _batches(contact for contact in changed if contact.status == Status.UNSUBSCRIBED.value):
        session.publish(events_pb2.ContactsUnsubscribed(contacts=batch))


def announce_deleted(session: TenantSession, contact_id: UUID, email_digest: bytes) -> None:
    """Tell that a contact is erased."""
    session.publish(events_pb2.ContactsDeleted(contact_ids=[str(contact_id)], email_digests=[email_digest]))


def announce_address_changed(
    session: TenantSession, contact_id: UUID, old_digest: bytes, new_digest: bytes
) -> None:
    """Tell that a person has another address, to which their refusals go with them."""
    session.publish(
        events_pb2.AddressChanged(
            contact_id=str(contact_id), old_email_digest=old_digest, new_email_digest=new_digest
        )
    )


def announce_resubscribed(
    session: TenantSession, contact_id: UUID, form_id: UUID, email_digest: bytes, confirmed_at: datetime
) -> None:
    """Tell that a person who had opted out has confirmed that they want mail again."""
    event = events_pb2.AddressResubscribed(
        email_digest=email_digest, contact_id=str(contact_id), form_id=str(form_id)
    )
    event.confirmed_at.FromDatetime(confirmed_at)
    session.publish(event)


def announce_submitted(session: TenantSession, form_id: UUID, submission_id: UUID, contact: Contact) -> None:
    """Tell that somebody has subscribed by a form."""
    session.publish(
        events_pb2.FormSubmitted(
            form_id=str(form_id), submission_id=str(submission_id), contact=as_message(contact)
        )
    )


def announce_joined(session: TenantSession, pairs: Sequence[tuple[UUID, UUID]], source: Source) -> None:
    """Tell of contacts that joined lists, as pairs of contact and list."""
    for list_id, contact_ids in _by_target(pairs):
        session.publish(
            events_pb2.ListJoined(list_id=list_id, contact_ids=contact_ids, source=SOURCES[source])
        )


def announce_left(session: TenantSession, pairs: Sequence[tuple[UUID, UUID]], source: Source) -> None:
    """Tell of contacts that left lists, as pairs of contact and list."""
    for list_id, contact_ids in _by_target(pairs):
        session.publish(events_pb2.ListLeft(list_id=list_id, contact_ids=contact_ids, source=SOURCES[source]))


def announce_tag_added(session: TenantSession, pairs: Sequence[tuple[UUID, UUID]], source: Source) -> None:
    """Tell of contacts that got tags, as pairs of contact and tag."""
    for tag_id, contact_ids in _by_target(pairs):
        session.publish(events_pb2.TagAdded(tag_id=tag_id, contact_ids=contact_ids, source=SOURCES[source]))


def announce_tag_removed(session: TenantSession, pairs: Sequence[tuple[UUID, UUID]], source: Source) -> None:
    """Tell of contacts that lost tags, as pairs of contact and tag."""
    for tag_id, contact_ids in _by_target(pairs):
        session.publish(events_pb2.TagRemoved(tag_id=tag_id, contact_ids=contact_ids, source=SOURCES[source]))


def announce_entered(session: TenantSession, segment_id: UUID, contact_ids: Sequence[UUID]) -> None:
    """Tell of contacts that came into a segment that is watched."""
    for target_id, batch in _by_target([(contact_id, segment_id) for contact_id in contact_ids]):
        session.publish(events_pb2.SegmentEntered(segment_id=target_id, contact_ids=batch))


def announce_import(session: TenantSession, import_id: UUID, created: int, updated: int, failed: int) -> None:
    """Tell that an import has come to its end."""
    session.publish(
        events_pb2.ImportCompleted(
            import_id=str(import_id), created_contacts=created, updated_contacts=updated, failed_rows=failed
        )
    )


def _by_target(pairs: Sequence[tuple[UUID, UUID]]) -> Iterator[tuple[str, list[str]]]:
    contacts_of: defaultdict[UUID, list[str]] = defaultdict(list)
    for contact_id, target_id in pairs:
        contacts_of[target_id].append(str(contact_id))
    for target_id, contact_ids in contacts_of.items():
        for start in range(0, len(contact_ids), _MOST_CONTACTS):
            yield str(target_id), contact_ids[start : start + _MOST_CONTACTS]


def _batches(contacts: Iterable[Contact]) -> Iterator[list[contacts_pb2.Contact]]:
    return _batches_of(map(as_message, contacts), contacts_pb2.Contact.ByteSize)


def _batches_of(told: Iterable[_Told], bytes_of: Callable[[_Told], int]) -> Iterator[list[_Told]]:
    """What is told of contacts, one each, as many in a batch as an event may hold."""
    batch: list[_Told] = []
    size = 0
    for each in told:
        length = bytes_of(each)
        if batch and (len(batch) == _MOST_CONTACTS or size + length > _MOST_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(each)
        size += length
    if batch:
        yield batch
