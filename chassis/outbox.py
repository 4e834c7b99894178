"""The transactional outbox: events become rows of the transaction that they tell about."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from chassis import tracing
from chassis.connections import Driver
from chassis.contract.events import subject_of
from flownurture.events.v1.envelope_pb2 import Envelope

# Below the megabyte that NATS takes by default, so that what is written can also be published.
MOST_BYTES = 1_000_000

_INSERT = """
    INSERT INTO outbox (id, domain, subject, envelope)
    SELECT * FROM unnest(%s::uuid[], %s::text[], %s::text[], %b::bytea[])
"""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """An event that is to go out, under its id."""

    event: Message
    id: UUID
    # The traceparent that it goes on with; that of the transaction, where none is told.
    trace: str = ""


async def write(driver: Driver, organization: UUID, events: Sequence[Outgoing]) -> None:
    """Insert the events in one statement, in their order.

    Raises LookupError for a message that is no event, ValueError for one over `MOST_BYTES`.
    """
    traceparent = tracing.current()
    ids, domains, subjects, envelopes = [], [], [], []
    for outgoing in events:
        subject = subject_of(type(outgoing.event))
        ids.append(outgoing.id)
        domains.append(domain_of(subject))
        subjects.append(subject)
        envelopes.append(_envelope(outgoing, organization, outgoing.trace or traceparent))
    await driver.execute(_INSERT, (ids, domains, subjects, envelopes))


def domain_of(subject: str) -> str:
    """The domain that may publish on a subject: the second word of `flownurture.<domain>.…`."""
    return subject.split(".", 2)[1]


def _envelope(outgoing: Outgoing, organization: UUID, traceparent: str) -> bytes:
    event = outgoing.event
    occurred_at = Timestamp()
    occurred_at.GetCurrentTime()
    envelope = Envelope(
        id=str(outgoing.id),
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
