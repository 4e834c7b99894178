"""A contact as the contract writes it, in answers and in events."""

from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp

from flownurture.contacts.v1 import contacts_pb2
from services.contacts.contact_rows import Contact
from services.contacts.events import Source
from services.contacts.statuses import Status

STATUSES = {
    Status.SUBSCRIBED: contacts_pb2.CONTACT_STATUS_SUBSCRIBED,
    Status.UNSUBSCRIBED: contacts_pb2.CONTACT_STATUS_UNSUBSCRIBED,
    Status.BOUNCED: contacts_pb2.CONTACT_STATUS_BOUNCED,
    Status.COMPLAINED: contacts_pb2.CONTACT_STATUS_COMPLAINED,
}

_NONE = Struct()
SOURCES = {source: contacts_pb2.ContactSource.Value(f"CONTACT_SOURCE_{source.name}") for source in Source}


def new_contact(
    contact_id: str,
    email: str,
    *,
    first_name: str,
    last_name: str,
    time_zone: str,
    status: str,
    created_at: Timestamp,
    list_ids: list[str],
) -> contacts_pb2.Contact:
    """The contract's contact of somebody of whom nothing else is known yet."""
    return contacts_pb2.Contact(
        id=contact_id,
        email=email,
        first_name=first_name,
        last_name=last_name,
        time_zone=time_zone,
        status=STATUSES[Status(status)],
        list_ids=list_ids,
        created_at=created_at,
        updated_at=created_at,
        custom_fields=_NONE,
    )


def as_message(contact: Contact) -> contacts_pb2.Contact:
    """The contract's contact."""
    message = contacts_pb2.Contact(
        id=str(contact.id),
        email=contact.email,
        first_name=contact.first_name,
        last_name=contact.last_name,
        time_zone=contact.time_zone,
        status=STATUSES[Status(contact.status)],
        list_ids=map(str, contact.list_ids),
        tags=contact.tags,
    )
    if contact.custom_fields:
        message.custom_fields.update(contact.custom_fields)
    else:
        message.custom_fields.SetInParent()
    message.created_at.FromDatetime(contact.created_at)
    message.updated_at.FromDatetime(contact.updated_at)
    return message
