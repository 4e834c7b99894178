"""What is due to an endpoint, read from the database: what comes again, and what a lane had no room for."""

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import text

from chassis.database import TenantSession
from services.webhooks.dispatch.parcels import Parcel

# In the order of a parcel's members.
_DUE = """
    SELECT delivery.id, delivery.event_id, event.type, event.payload, event.sequence, event.occurred_at, delivery.scheduled,
        delivery.attempts
    FROM deliveries AS delivery LEFT JOIN events AS event ON event.id = delivery.event_id
    WHERE delivery.endpoint_id = %s AND delivery.due_at <= now() AND delivery.id <> ALL(%s::uuid[])
    ORDER BY delivery.due_at, delivery.id LIMIT %s
"""
_CANCEL = text("""
    UPDATE deliveries SET status = 'cancelled', due_at = NULL, settled_at = now()
    WHERE id = ANY(CAST(:ids AS uuid[])) AND status = 'pending'
""")

# Longer than an attempt takes.
_PUT_OFF = text("""
    UPDATE deliveries SET due_at = now() + interval '20 seconds'
    WHERE id = ANY(CAST(:ids AS uuid[])) AND due_at <= now()
""")


async def due(
    session: TenantSession, endpoint_id: UUID, in_hand: Collection[UUID], most: int
) -> tuple[list[Parcel], bool]:
    """At most so many that are due, the longest first, and whether there may be more. What has lost its event is cancelled: it was erased."""
    found = await session.driver.execute(_DUE, (endpoint_id, list(in_hand), most))
    parcels = [Parcel._make(row) for row in await found.fetchall()]
    if lost := [parcel.delivery_id for parcel in parcels if parcel.data is None]:
        await session.execute(_CANCEL, {"ids": lost})
    return [parcel for parcel in parcels if parcel.data is not None], len(parcels) == most


async def put_off(session: TenantSession, delivery_ids: Collection[UUID]) -> None:
    """Have nobody post these again before their attempts can be written down."""
    await session.execute(_PUT_OFF, {"ids": list(delivery_ids)})
