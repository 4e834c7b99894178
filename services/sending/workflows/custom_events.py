"""What clients tell of contacts, taken in and told on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from google.protobuf.struct_pb2 import Struct

from chassis.database import TenantSession
from flownurture.sending.v1.events_pb2 import CustomEventsTold, CustomEventTold

# What is older, workflows would hardly wait for; who sets clocks differs by seconds.
OLDEST = timedelta(days=7)
EARLY = timedelta(minutes=1)

_MOST_IN_AN_EVENT = 500
# Below what an event of the outbox may have.
_MOST_BYTES = 500_000


@dataclass(frozen=True, slots=True)
class CustomEvent:
    """Something that happened once with a contact."""

    id: UUID
    name: str
    contact_id: UUID
    occurred_at: datetime
    properties: Struct


def tell(session: TenantSession, events: Sequence[CustomEvent]) -> None:
    """Tell them on, once the transaction has committed."""
    for told in _in_sets([_told(event) for event in events]):
        session.publish(CustomEventsTold(events=told))


def _in_sets(events: Sequence[CustomEventTold]) -> Iterator[list[CustomEventTold]]:
    """As many together as an event has room for."""
    together: list[CustomEventTold] = []
    size = 0
    for event in events:
        if together and (size + event.ByteSize() > _MOST_BYTES or len(together) == _MOST_IN_AN_EVENT):
            yield together
            together, size = [], 0
        together.append(event)
        size += event.ByteSize()
    if together:
        yield together


def _told(event: CustomEvent) -> CustomEventTold:
    told = CustomEventTold(
        id=str(event.id), name=event.name, contact_id=str(event.contact_id), properties=event.properties
    )
    told.occurred_at.FromDatetime(event.occurred_at)
    return told
