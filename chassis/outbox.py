"""The transactional outbox: events become rows of the transaction that they tell about."""

from collections.abc import Sequence
from uuid import UUID

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from chassis import tracing
from chassis.connections import Driver
from chassis.contract.events import subject_of
from chassis.identifiers import new_id
from flownurture.events.v1.envelope_pb2 import Envelope

# Below the megabyte that NATS takes by default, so that what is written can also be published.
MOST_BYTES = 1_000_000

_INSERT = """
    INSERT INTO outbox (id, domain, subject, envelope)
    SELECT * FROM unnest(%s::uuid[], %s::text[], %s::text[], %b::bytea[])
"""


async def write(driver: Driver, organization: UUID, events: Sequence[Message]) -> None:
    """Insert the events in one statement, in their order.

    Raises LookupError for a message that is no event, ValueError for one over `MOST_BYTES`.
    """
    traceparent = tracing.current()
    ids, domains, subjects, envelopes = [], [], [], []
    for event in events:
        event_id = new_id()
        subject = subject_of(type(event))
        ids.append(event_id)
        domains.append(domain_of(subject))
        subjects.append(subject)
        envelopes.append(_envelope(event_id, organization, event, traceparent))
    await driver.execute(_INSERT, (ids, domains, subjects, envelopes))


def domain_of(subject: str) -> str:
    """The domain that may publish on a subject: the second word of `flownurture.<domain>.…`."""
    return subject.split(".", 2)[1]


def _envelope(event_id: UUID, organization: UUID, event: Message, traceparent: str) -> bytes:
    occurred_at = Timestamp()
    occurred_at.GetCurrentTime()
    envelope = Envelope(
        id=str(event_id),
        organization_id=str(organization),
        type=event.DESCRIPTOR.full_name,
        occurred_at=occurred_at,
        traceparent=traceparent,
        payload=event.SerializeToString(),
    ).SerializeToString()
    if len(envelope) > MOST_BYTES:
        raise ValueError(
            f"{event.DESCRIPTOR.full_name} of {len(envelope)} bytes is too large: publish it in batches"
        )
    return envelope
