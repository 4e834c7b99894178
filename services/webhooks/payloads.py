"""What webhooks tell of a fact: its events, and the body that is posted for each."""

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from functools import lru_cache, singledispatch
from typing import NamedTuple, Protocol
from uuid import UUID

import orjson
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from chassis.contract.json_encoding import encoder
from chassis.contract.timestamps import format_timestamp
from chassis.identifiers import derived_id, milliseconds_of
from flownurture.contacts.v1 import events_pb2 as contacts
from flownurture.contacts.v1.contacts_pb2 import CONTACT_STATUS_SUBSCRIBED
from flownurture.delivery.v1 import events_pb2 as delivery
from flownurture.integrations.v1 import events_pb2 as integrations
from flownurture.integrations.v1.connections_pb2 import Provider
from flownurture.sending.v1 import events_pb2 as sending
from flownurture.sending.v1.messages_pb2 import (
    MESSAGE_STATUS_BOUNCED,
    MESSAGE_STATUS_DELIVERED,
    MESSAGE_STATUS_SENT,
)
from flownurture.suppression.v1 import events_pb2 as suppression
from flownurture.webhooks.v1 import payloads_pb2 as payloads
from flownurture.webhooks.v1.events_pb2 import WebhookEndpointDisabled
from flownurture.workflows.v1 import events_pb2 as workflows
from services.webhooks.event_types import type_of

# By stream, what there is to tell of. The orders of workflows come by a stream of their own.
FACTS: dict[str, tuple[type[Message], ...]] = {
    "CONTACTS": (
        contacts.ContactsCreated,
        contacts.ContactsUpdated,
        contacts.ContactsDeleted,
        contacts.ContactsSubscribed,
        contacts.ContactsUnsubscribed,
        contacts.FormSubmitted,
    ),
    "SENDING": (
        sending.CampaignLaunched,
        sending.CampaignCompleted,
        sending.EmailsOpened,
        sending.EmailsClicked,
        sending.EmailsComplained,
    ),
    "SUPPRESSION": (suppression.SendsVetoed,),
    "DELIVERY": (delivery.MessagesSettled,),
    "WORKFLOWS": (workflows.ContactsEnrolled, workflows.EnrollmentsEnded),
    "INTEGRATIONS": (integrations.SyncCompleted, integrations.SyncFailed),
    "WEBHOOKS": (WebhookEndpointDisabled,),
}

# More than a fact ever tells of, so that facts of two moments share no number.
_EVENTS_A_MILLISECOND = 1024


class Told(NamedTuple):
    """An event as endpoints are told of it. `data` is JSON; `contact_id` is whom it is about, if anybody."""

    id: UUID
    type: str
    data: bytes
    sequence: int
    occurred_at: datetime
    contact_id: UUID | None


class Event(Protocol):
    """What a body is made of."""

    @property
    def event_id(self) -> UUID:
        """`Told.id`."""
        ...

    @property
    def event_type(self) -> str:
        """`Told.type`."""
        ...

    @property
    def data(self) -> bytes:
        """`Told.data`."""
        ...

    @property
    def sequence(self) -> int:
        """`Told.sequence`."""
        ...

    @property
    def occurred_at(self) -> datetime:
        """`Told.occurred_at`, in any zone."""
        ...


def told_by(
    event: Message, event_id: UUID, is_taken: Callable[[str], bool] = lambda kind: True
) -> list[Told]:
    """The events of a fact, or of an order of workflows, whose id is `event_id`: those of types that somebody takes.

    The same fact gives the same events with the same ids whenever it is asked for. Of an order there is one event for
    each call, in its order, and an event's id is that of the step's effect: the call keeps it when it is ordered
    again. Raises LookupError for what nothing is told of.
    """
    made_at = milliseconds_of(event_id)
    return [
        _told(telling, kind, event_id, made_at, index)
        for index, telling in enumerate(_tellings_of(event))
        if is_taken(kind := type_of(telling.payload.DESCRIPTOR))
    ]


def body_of(event: Event, organization_id: UUID, api_version: str) -> bytes:
    """What is posted: the same bytes in every attempt. `data` goes in as it was stored."""
    # Nothing here needs escapes: ids, a type and a version of ours, a time, a number.
    return (
        f'{{"id":"{event.event_id}","type":"{event.event_type}","api_version":"{api_version}",'
        f'"timestamp":"{_written(event.occurred_at)}","sequence":{event.sequence},'
        f'"organization_id":"{organization_id}","data":'
    ).encode() + b"".join((event.data, b"}"))


# What happened in one fact happened at one moment, and each endpoint is told of it.
@lru_cache(maxsize=4_096)
def _written(moment: datetime) -> str:
    timestamp = Timestamp()
    timestamp.FromDatetime(moment)
    return format_timestamp(timestamp)


class _Telling(NamedTuple):
    payload: Message
    contact_id: str = ""
    # Of the event itself, where its fact tells of several moments.
    occurred_at: Timestamp | None = None
    effect_id: bytes = b""


def _told(telling: _Telling, kind: str, fact_id: UUID, made_at: int, index: int) -> Told:
    payload = telling.payload
    own_moment = telling.occurred_at
    return Told(
        id=UUID(bytes=telling.effect_id) if telling.effect_id else _id(fact_id, made_at, kind, index),
        type=kind,
        data=orjson.dumps(encoder(payload.DESCRIPTOR)(payload)),
        sequence=made_at * _EVENTS_A_MILLISECOND + index,
        occurred_at=own_moment.ToDatetime(UTC) if own_moment else datetime.fromtimestamp(made_at / 1000, UTC),
        contact_id=UUID(telling.contact_id) if telling.contact_id else None,
    )


def _id(fact_id: UUID, made_at: int, kind: str, index: int) -> UUID:
    return derived_id(made_at, fact_id.bytes + f"{kind} {index}".encode())


@singledispatch
def _tellings_of(event: Message) -> Iterable[_Telling]:
    raise LookupError(f"webhooks tell nothing of {event.DESCRIPTOR.full_name}")


@_tellings_of.register
def _(event: contacts.ContactsCreated) -> Iterator[_Telling]:
    for contact in event.contacts:
        yield _Telling(payloads.ContactCreated(contact=contact, source=event.source), contact.id)
        if contact.status == CONTACT_STATUS_SUBSCRIBED:
            yield _Telling(payloads.ContactSubscribed(contact=contact), contact.id)


@_tellings_of.register
def _(event: contacts.ContactsUpdated) -> Iterator[_Telling]:
    for index, contact in enumerate(event.contacts):
        changed = event.changed[index].names if event.changed else ()
        yield _Telling(payloads.ContactUpdated(contact=contact, changed_fields=changed), contact.id)


@_tellings_of.register
def _(event: contacts.ContactsDeleted) -> Iterator[_Telling]:
    for contact_id in event.contact_ids:
        yield _Telling(payloads.ContactDeleted(contact_id=contact_id), contact_id)


@_tellings_of.register
def _(event: contacts.ContactsSubscribed) -> Iterator[_Telling]:
    for contact in event.contacts:
        yield _Telling(payloads.ContactSubscribed(contact=contact), contact.id)


@_tellings_of.register
def _(event: contacts.ContactsUnsubscribed) -> Iterator[_Telling]:
    for contact in event.contacts:
        yield _Telling(payloads.ContactUnsubscribed(contact=contact), contact.id)


@_tellings_of.register
def _(event: contacts.FormSubmitted) -> Iterator[_Telling]:
    payload = payloads.FormSubmitted(
        form_id=event.form_id, submission_id=event.submission_id, contact=event.contact
    )
    yield _Telling(payload, event.contact.id)


@_tellings_of.register
def _(event: delivery.MessagesSettled) -> Iterator[_Telling]:
    for outcome in event.outcomes:
        if payload := _outcome(outcome):
            yield _Telling(payload, outcome.contact_id, outcome.occurred_at)


def _outcome(outcome: delivery.MessageOutcome) -> Message | None:
    """None for what is no delivery and no refusal: messages that failed here, or whose end nobody knows."""
    message_id, campaign_id, contact_id = outcome.message_id, outcome.campaign_id, outcome.contact_id
    match outcome.status:
        case status if status == MESSAGE_STATUS_SENT:
            return payloads.EmailSent(message_id=message_id, campaign_id=campaign_id, contact_id=contact_id)
        case status if status == MESSAGE_STATUS_DELIVERED:
            return payloads.EmailDelivered(
                message_id=message_id, campaign_id=campaign_id, contact_id=contact_id
            )
        case status if status == MESSAGE_STATUS_BOUNCED:
            return payloads.EmailBounced(
                message_id=message_id,
                campaign_id=campaign_id,
                contact_id=contact_id,
                smtp_reply=outcome.smtp_reply,
            )
    return None


@_tellings_of.register
def _(event: suppression.SendsVetoed) -> Iterator[_Telling]:
    for message in event.messages:
        payload = payloads.EmailVetoed(
            message_id=message.message_id,
            campaign_id=event.campaign_id,
            contact_id=message.contact_id,
            reason=message.reason,
        )
        yield _Telling(payload, message.contact_id)


@_tellings_of.register
def _(event: sending.EmailsOpened) -> Iterator[_Telling]:
    for opening in event.engagements:
        payload = payloads.EmailOpened(
            message_id=opening.message_id,
            campaign_id=opening.campaign_id,
            contact_id=opening.contact_id,
            workflow_id=opening.workflow_id,
            enrollment_id=opening.enrollment_id,
            step_id=opening.step_id,
        )
        yield _Telling(payload, opening.contact_id, opening.occurred_at)


@_tellings_of.register
def _(event: sending.EmailsClicked) -> Iterator[_Telling]:
    for click in event.engagements:
        payload = payloads.EmailClicked(
            message_id=click.message_id,
            campaign_id=click.campaign_id,
            contact_id=click.contact_id,
            url=click.url,
            workflow_id=click.workflow_id,
            enrollment_id=click.enrollment_id,
            step_id=click.step_id,
        )
        yield _Telling(payload, click.contact_id, click.occurred_at)


@_tellings_of.register
def _(event: sending.EmailsComplained) -> Iterator[_Telling]:
    for complaint in event.complaints:
        payload = payloads.EmailComplained(
            message_id=complaint.message_id,
            campaign_id=complaint.campaign_id,
            contact_id=complaint.contact_id,
        )
        yield _Telling(payload, complaint.contact_id, complaint.occurred_at)


@_tellings_of.register
def _(event: sending.CampaignLaunched) -> Iterator[_Telling]:
    yield _Telling(payloads.CampaignLaunched(campaign_id=event.campaign_id, name=event.name))


@_tellings_of.register
def _(event: sending.CampaignCompleted) -> Iterator[_Telling]:
    yield _Telling(
        payloads.CampaignCompleted(
            campaign_id=event.campaign_id,
            audience=event.audience,
            sent=event.sent,
            vetoed=event.vetoed,
            bounced=event.bounced,
            failed=event.failed,
            indeterminate=event.indeterminate,
        )
    )


@_tellings_of.register
def _(event: workflows.ContactsEnrolled) -> Iterator[_Telling]:
    for enrollment in event.enrollments:
        payload = payloads.WorkflowEnrolled(
            workflow_id=event.workflow_id,
            version=event.version,
            enrollment_id=enrollment.enrollment_id,
            contact_id=enrollment.contact_id,
        )
        yield _Telling(payload, enrollment.contact_id)


@_tellings_of.register
def _(event: workflows.EnrollmentsEnded) -> Iterator[_Telling]:
    for ended in event.enrollments:
        payload = payloads.WorkflowCompleted(
            workflow_id=event.workflow_id,
            enrollment_id=ended.enrollment_id,
            contact_id=ended.contact_id,
            cause=ended.cause,
            reason=ended.reason,
        )
        yield _Telling(payload, ended.contact_id, ended.ended_at)


@_tellings_of.register
def _(event: integrations.SyncCompleted) -> Iterator[_Telling]:
    yield _Telling(
        payloads.IntegrationSynced(
            connection_id=event.connection_id,
            provider=_crm(event.provider),
            sync_id=event.sync_id,
            counts=event.counts,
        )
    )


@_tellings_of.register
def _(event: integrations.SyncFailed) -> Iterator[_Telling]:
    yield _Telling(
        payloads.IntegrationFailed(
            connection_id=event.connection_id,
            provider=_crm(event.provider),
            sync_id=event.sync_id,
            counts=event.counts,
            error=event.error,
        )
    )


def _crm(provider: Provider.ValueType) -> str:
    """As the API names it."""
    return Provider.Name(provider).removeprefix("PROVIDER_").lower()


@_tellings_of.register
def _(event: workflows.CallEndpoints) -> Iterator[_Telling]:
    for call in event.calls:
        payload = payloads.WorkflowEndpointCalled(
            workflow_id=call.workflow_id,
            enrollment_id=call.enrollment_id,
            step_id=call.step_id,
            contact_id=call.contact_id,
        )
        yield _Telling(payload, call.contact_id, effect_id=call.effect_id)


@_tellings_of.register
def _(event: WebhookEndpointDisabled) -> Iterator[_Telling]:
    yield _Telling(
        payloads.EndpointDisabled(
            endpoint_id=event.endpoint_id,
            url=event.url,
            reason=event.reason,
            failing_since=event.failing_since if event.HasField("failing_since") else None,
        )
    )
