"""A contact as the contract writes it, in answers and in events."""

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

SOURCES = {source: contacts_pb2.ContactSource.Value(f"CONTACT_SOURCE_{source.name}") for source in Source}


def as_message(contact: Contact) -> contacts_pb2.Contact:
    """The contract's contact."""
    message = contacts_pb2.Contact(
        id=str(contact.id),
        email=contact.email,
        first_name=contact.first_name,
        last_name=contact.last_name,
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
