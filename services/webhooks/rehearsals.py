"""Test events: examples of what an endpoint takes, sent to it alone as if they were true."""

from datetime import UTC, datetime
from uuid import UUID, uuid4

import orjson

from chassis.database import TenantSession
from chassis.errors import FieldViolation, InvalidRequest
from chassis.identifiers import milliseconds_of, new_id
from services.webhooks.deliveries import Delivery, get_delivery
from services.webhooks.endpoints import Endpoint, require_enabled
from services.webhooks.event_types import EVENT_TYPES, example, matches
from services.webhooks.fan_out import deliver, keep
from services.webhooks.payloads import Told

_PER_MILLISECOND = 1024


async def send_test_event(session: TenantSession, endpoint_id: UUID, event_type: str) -> Delivery:
    """Send the example of a type, or where none is named of the first that the endpoint takes; answers the delivery.

    Raises NotFound, Conflict when the endpoint is disabled, InvalidRequest for a type that is none.
    """
    endpoint = await require_enabled(session, endpoint_id)
    told = _example_of(event_type or _first_of(endpoint))
    await keep(session, [told])
    parcels = await deliver(session, [(endpoint_id, told)])
    return await get_delivery(session, parcels[endpoint_id][0].delivery_id)


def is_test(event_id: UUID) -> bool:
    """Whether an event of the log is an example: the ids of what happened hold its time, and this one's is random."""
    return event_id.version == 4


def _example_of(event_type: str) -> Told:
    if event_type not in EVENT_TYPES:
        raise InvalidRequest(FieldViolation("event_type", "is not the name of an event type"))
    return Told(
        id=uuid4(),
        type=event_type,
        data=orjson.dumps(example(event_type)),
        sequence=milliseconds_of(new_id()) * _PER_MILLISECOND,
        occurred_at=datetime.now(UTC),
        contact_id=None,
    )


def _first_of(endpoint: Endpoint) -> str:
    return next(name for name in EVENT_TYPES if matches(endpoint.event_types, name))
