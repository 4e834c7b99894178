"""Deliveries as their organization sees them: each an event on its way to an endpoint, which can be sent once more."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import ColumnElement, exists, func, literal, select, true, update

from chassis.database import TenantSession
from chassis.errors import Conflict, NotFound
from flownurture.audit.v1.acts_pb2 import AuditedAct
from services.webhooks.acts import tell
from services.webhooks.tables import deliveries, endpoints, events


class DeliveryStatus(StrEnum):
    """Where a delivery stands."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Delivery:
    """A delivery; `attempts` is how many there were."""

    id: UUID
    endpoint_id: UUID
    event_id: UUID
    event_type: str
    status: str
    attempts: int
    due_at: datetime | None
    last_status_code: int | None
    created_at: datetime
    settled_at: datetime | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which deliveries to an endpoint are asked for; None bounds nothing."""

    endpoint_id: UUID
    status: DeliveryStatus | None = None
    event_type: str | None = None
    since: datetime | None = None
    until: datetime | None = None


_COLUMNS = [deliveries.c[name] for name in Delivery.__dataclass_fields__]

# Times are the database's, and ids those of processes, whose clocks are their own; and a transaction takes its while.
_APART_MILLISECONDS = 3_600_000
_LAST_MILLISECOND = (1 << 48) - 1

# What begins a delivery anew.
ANEW = {"status": DeliveryStatus.PENDING.value, "scheduled": 0, "due_at": func.now(), "settled_at": None}


async def get_delivery(session: TenantSession, delivery_id: UUID) -> Delivery:
    """The delivery. Raises NotFound."""
    found = await session.execute(select(*_COLUMNS).where(deliveries.c.id == delivery_id))
    row = found.mappings().one_or_none()
    if row is None:
        raise NotFound(f"webhook delivery as {delivery_id}")
    return Delivery(**row)


async def page_deliveries(
    session: TenantSession, wanted: Wanted, *, before: UUID | None, size: int
) -> list[Delivery]:
    """Up to `size` deliveries, newest first, that are older than `before`."""
    found = await session.execute(
        select(*_COLUMNS)
        .where(deliveries.c.endpoint_id == wanted.endpoint_id, *_bounds(wanted))
        .where(deliveries.c.id < before if before is not None else true())
        .order_by(deliveries.c.id.desc())
        .limit(size)
    )
    return [Delivery(**row) for row in found.mappings()]


async def replay(session: TenantSession, delivery_id: UUID) -> Delivery:
    """Send it once more, under the same id, from the schedule's beginning; one that is pending stays as it is.

    Raises NotFound, and Conflict when its endpoint is disabled or gone, or its event is forgotten.
    """
    delivery = await get_delivery(session, delivery_id)
    if delivery.status == DeliveryStatus.PENDING:
        return delivery
    enabled = await session.scalar(
        select(endpoints.c.enabled)
        .where(endpoints.c.id == delivery.endpoint_id)
        .with_for_update(read=True, key_share=True)
    )
    if not enabled:
        raise Conflict("The endpoint is disabled." if enabled is False else "The endpoint is deleted.")
    if not await session.scalar(select(exists().where(events.c.id == delivery.event_id))):
        raise Conflict("The event is not kept any more.")
    begun = await session.execute(
        update(deliveries)
        .where(deliveries.c.id == delivery_id, deliveries.c.status != DeliveryStatus.PENDING)
        .values(ANEW)
    )
    if begun.rowcount:
        tell(
            session,
            AuditedAct.KIND_WEBHOOK_DELIVERY_REPLAY_REQUESTED,
            delivery_id,
            after={"endpoint_id": str(delivery.endpoint_id), "event_type": delivery.event_type},
        )
    return await get_delivery(session, delivery_id)


async def cancel(session: TenantSession, endpoint_id: UUID) -> None:
    """Send nothing of what waits for an endpoint."""
    await session.execute(
        update(deliveries)
        .where(deliveries.c.endpoint_id == endpoint_id, deliveries.c.due_at.is_not(None))
        .values(status=DeliveryStatus.CANCELLED.value, due_at=None, settled_at=func.now())
    )


def stands(*statuses: DeliveryStatus) -> ColumnElement[bool]:
    """Of one of these statuses. They are written into the statement: of an index of some statuses the planner has to know that they are its own."""
    return deliveries.c.status.in_([literal(status.value, literal_execute=True) for status in statuses])


def made(since: datetime | None, until: datetime | None) -> Iterator[ColumnElement[bool]]:
    """Made at that time or later, and before the other. Ids say nearly the same, and they are what there is an index of."""
    if since is not None:
        yield deliveries.c.created_at >= since
        yield deliveries.c.id >= _first_id(since, -_APART_MILLISECONDS)
    if until is not None:
        yield deliveries.c.created_at < until
        yield deliveries.c.id < _first_id(until, _APART_MILLISECONDS)


def _bounds(wanted: Wanted) -> Iterator[ColumnElement[bool]]:
    if wanted.status is DeliveryStatus.PENDING:
        # It is the same, and indexed.
        yield deliveries.c.due_at.is_not(None)
    elif wanted.status is not None:
        yield stands(wanted.status)
    if wanted.event_type is not None:
        yield deliveries.c.event_type == wanted.event_type
    yield from made(wanted.since, wanted.until)


def _first_id(moment: datetime, milliseconds: int) -> UUID:
    """None that was made so long after the moment is less."""
    return UUID(int=min(max(0, int(moment.timestamp() * 1000) + milliseconds), _LAST_MILLISECOND) << 80)
