"""What is due to an endpoint, read from the database: what comes again, and what a lane had no room for."""

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import text

from chassis.database import TenantSession
from services.webhooks.dispatch.parcels import Parcel

_DUE = text("""
    SELECT delivery.id AS delivery_id, delivery.event_id, delivery.scheduled,
           event.type AS event_type, event.payload AS data, event.sequence, event.occurred_at
    FROM deliveries AS delivery LEFT JOIN events AS event ON event.id = delivery.event_id
    WHERE delivery.endpoint_id = :endpoint_id AND delivery.due_at <= now()
      AND delivery.id <> ALL(CAST(:in_hand AS uuid[]))
    ORDER BY delivery.due_at, delivery.id LIMIT :most
""")
_CANCEL = text("""
    UPDATE deliveries SET status = 'cancelled', due_at = NULL, settled_at = now()
    WHERE id = ANY(CAST(:ids AS uuid[])) AND status = 'pending'
""")


async def due(
    session: TenantSession, endpoint_id: UUID, in_hand: Collection[UUID], most: int
) -> tuple[list[Parcel], bool]:
    """At most so many that are due, the longest first, and whether there may be more. What has lost its event is cancelled: it was erased."""
    rows = (
        await session.execute(_DUE, {"endpoint_id": endpoint_id, "in_hand": list(in_hand), "most": most})
    ).all()
    if lost := [row.delivery_id for row in rows if row.data is None]:
        await session.execute(_CANCEL, {"ids": lost})
    return [Parcel(**row._mapping) for row in rows if row.data is not None], len(rows) == most
