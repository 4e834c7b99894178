"""Whoever is erased is forgotten here too: what was to be told of them, and what receivers answered to it."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import text

from chassis.database import TenantSession

_FORGET = text("""
    WITH forgotten AS (
        DELETE FROM events WHERE contact_id = ANY(CAST(:contact_ids AS uuid[])) RETURNING id
    ), told AS (
        UPDATE deliveries SET
            status = CASE status WHEN 'pending' THEN 'cancelled' ELSE status END,
            due_at = NULL,
            settled_at = coalesce(settled_at, now())
        WHERE endpoint_id IN (SELECT id FROM endpoints) AND event_id IN (SELECT id FROM forgotten)
        RETURNING id
    )
    UPDATE attempts SET response_body = '' WHERE delivery_id IN (SELECT id FROM told) AND response_body <> ''
""")


async def forget(session: TenantSession, contact_ids: Sequence[UUID]) -> None:
    """Delete what is kept of these contacts; what has not been delivered never is."""
    await session.execute(_FORGET, {"contact_ids": list(contact_ids)})
