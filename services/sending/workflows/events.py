"""What happens to a contact, or what they do, and whether it is what a workflow begins with or waits for."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from google.protobuf.message import Message

from flownurture.contacts.v1.segments_pb2 import ContactField
from flownurture.sending.v1 import workflows_pb2 as pb


class EventKind(StrEnum):
    """What may happen, by the name that the contract has for it."""

    CONTACT_CREATED = "contact_created"
    CONTACT_SUBSCRIBED = "contact_subscribed"
    FORM_SUBMITTED = "form_submitted"
    LIST_JOINED = "list_joined"
    TAG_ADDED = "tag_added"
    TAG_REMOVED = "tag_removed"
    FIELD_CHANGED = "field_changed"
    SEGMENT_ENTERED = "segment_entered"
    CAMPAIGN_OPENED = "campaign_opened"
    CAMPAIGN_CLICKED = "campaign_clicked"
    # With the mail that a step sent.
    EMAIL_OPENED = "email_opened"
    EMAIL_CLICKED = "email_clicked"
    CUSTOM_EVENT = "custom_event"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened once, with one contact."""

    kind: EventKind
    contact_id: UUID
    occurred_at: datetime
    # With what: the id of the form, list, tag, segment or campaign, the step's, the custom event's name, `first_name`, `custom_fields.plan`.
    of: str = ""
    # Of the mail of a step: of which enrollment it is, since the contact may have been in the workflow before.
    enrollment_id: UUID | None = None


def begins(trigger: pb.WorkflowTrigger, event: Event) -> bool:
    """Whether the event brings its contact into the workflow. Dates and enrollments by the API are no events."""
    kind = trigger.WhichOneof("trigger")
    return kind == event.kind and _means(getattr(trigger, kind), event)


def is_awaited(awaited: pb.WorkflowEvent, event: Event) -> bool:
    """Whether it is what is waited for."""
    kind = awaited.WhichOneof("event")
    return kind == event.kind and _means(getattr(awaited, kind), event)


def field_name(field: pb.FieldReference) -> str:
    """A field of a contact as templates and events call it."""
    if field.WhichOneof("field") == "custom_field":
        return f"custom_fields.{field.custom_field}"
    return ContactField.Name(field.name).removeprefix("CONTACT_FIELD_").lower()


def subject_of(reference: Message) -> str:
    """What an event is about that this names, as the event says it; empty for whatever it is about."""
    if isinstance(reference, pb.FieldReference):
        return field_name(reference)
    return next((named for _, named in reference.ListFields()), "")


def _means(reference: Message, event: Event) -> bool:
    """Whether this is what the event is about; a reference that names nothing means any."""
    if isinstance(reference, pb.FieldReference):
        return field_name(reference) == event.of
    return all(named == event.of for _, named in reference.ListFields())
