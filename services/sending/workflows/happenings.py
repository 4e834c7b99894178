"""What other services tell, as events that workflows know: what happened, with which contacts, and when."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, TypeAlias

from google.protobuf.message import Message

from chassis.identifiers import parse_id
from flownurture.contacts.v1 import events_pb2 as contacts
from flownurture.contacts.v1.contacts_pb2 import CONTACT_STATUS_SUBSCRIBED
from flownurture.sending.v1 import events_pb2 as sending
from services.sending.workflows.events import Event, EventKind

# What a message of the bus, told at that moment, says.
Reading: TypeAlias = Callable[[Any, datetime], Iterator[Event]]


def _of_all(kind: EventKind, contact_ids: Iterable[str], at: datetime, of: str = "") -> Iterator[Event]:
    return (Event(kind, parse_id(contact_id), at, of) for contact_id in contact_ids)


def _created(told: contacts.ContactsCreated, at: datetime) -> Iterator[Event]:
    yield from _of_all(EventKind.CONTACT_CREATED, (each.id for each in told.contacts), at)
    subscribed = (each.id for each in told.contacts if each.status == CONTACT_STATUS_SUBSCRIBED)
    yield from _of_all(EventKind.CONTACT_SUBSCRIBED, subscribed, at)


def _subscribed(told: contacts.ContactsSubscribed, at: datetime) -> Iterator[Event]:
    return _of_all(EventKind.CONTACT_SUBSCRIBED, (each.id for each in told.contacts), at)


def _updated(told: contacts.ContactsUpdated, at: datetime) -> Iterator[Event]:
    # Of an older process nothing is told of what changed.
    for contact, changed in zip(told.contacts, told.changed, strict=False):
        for name in changed.names:
            yield Event(EventKind.FIELD_CHANGED, parse_id(contact.id), at, name)


def _submitted(told: contacts.FormSubmitted, at: datetime) -> Iterator[Event]:
    return _of_all(EventKind.FORM_SUBMITTED, [told.contact.id], at, told.form_id)


def _joined(told: contacts.ListJoined, at: datetime) -> Iterator[Event]:
    return _of_all(EventKind.LIST_JOINED, told.contact_ids, at, told.list_id)


def _tagged(told: contacts.TagAdded, at: datetime) -> Iterator[Event]:
    return _of_all(EventKind.TAG_ADDED, told.contact_ids, at, told.tag_id)


def _untagged(told: contacts.TagRemoved, at: datetime) -> Iterator[Event]:
    return _of_all(EventKind.TAG_REMOVED, told.contact_ids, at, told.tag_id)


def _entered(told: contacts.SegmentEntered, at: datetime) -> Iterator[Event]:
    return _of_all(EventKind.SEGMENT_ENTERED, told.contact_ids, at, told.segment_id)


def _opened(told: sending.EmailsOpened, _: datetime) -> Iterator[Event]:
    return _engaged(told.engagements, EventKind.CAMPAIGN_OPENED, EventKind.EMAIL_OPENED)


def _clicked(told: sending.EmailsClicked, _: datetime) -> Iterator[Event]:
    return _engaged(told.engagements, EventKind.CAMPAIGN_CLICKED, EventKind.EMAIL_CLICKED)


def _engaged(
    engagements: Iterable[sending.Engagement], of_campaign: EventKind, of_step: EventKind
) -> Iterator[Event]:
    for each in engagements:
        at = each.occurred_at.ToDatetime(tzinfo=UTC)
        # A single message is of neither, and who is erased does nothing any more.
        if each.contact_id and each.campaign_id:
            yield Event(of_campaign, parse_id(each.contact_id), at, each.campaign_id)
        elif each.contact_id and each.enrollment_id:
            enrollment_id = parse_id(each.enrollment_id)
            yield Event(of_step, parse_id(each.contact_id), at, each.step_id, enrollment_id)


def _custom(told: sending.CustomEventsTold, _: datetime) -> Iterator[Event]:
    for each in told.events:
        at = each.occurred_at.ToDatetime(tzinfo=UTC)
        yield Event(EventKind.CUSTOM_EVENT, parse_id(each.contact_id), at, each.name)


# By the stream that tells it.
READINGS: Mapping[str, Mapping[type[Message], Reading]] = {
    "CONTACTS": {
        contacts.ContactsCreated: _created,
        contacts.ContactsSubscribed: _subscribed,
        contacts.ContactsUpdated: _updated,
        contacts.FormSubmitted: _submitted,
        contacts.ListJoined: _joined,
        contacts.TagAdded: _tagged,
        contacts.TagRemoved: _untagged,
        contacts.SegmentEntered: _entered,
    },
    "SENDING": {
        sending.EmailsOpened: _opened,
        sending.EmailsClicked: _clicked,
        sending.CustomEventsTold: _custom,
    },
}
