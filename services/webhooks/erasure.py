"""Whoever is erased is forgotten here too: what was to be told of them, and what receivers answered to it."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import text

from chassis.database import TenantSession
from services.webhooks.fan_out import wait_until_kept

_FORGET = text("""
    WITH noted AS (
        INSERT INTO erased_contacts (contact_id) SELECT unnest(CAST(:contact_ids AS uuid[])) ON CONFLICT DO NOTHING
    ), forgotten AS (
        DELETE FROM events WHERE contact_id = ANY(CAST(:contact_ids AS uuid[])) RETURNING id
    ), told AS (
        UPDATE deliveries SET
            status = CASE status WHEN 'pending' THEN 'cancelled' ELSE status END,
            due_at = NULL,
            settled_at = coalesce(settled_at, now())
        WHERE event_id IN (SELECT id FROM forgotten)
        RETURNING id
    )
    SELECT id FROM told
""")
# Afterwards: what was being written down while deliveries were waited for is seen by a statement of its own.
_FORGET_ANSWERS = text("""
    UPDATE attempts SET response_body = ''
    WHERE delivery_id = ANY(CAST(:delivery_ids AS uuid[])) AND response_body <> ''
""")


async def forget(session: TenantSession, contact_ids: Sequence[UUID]) -> None:
    """Delete what is kept of these contacts; what has not been delivered never is. Nothing of them is kept that comes later, by `fan_out.keep`."""
    await wait_until_kept(session)
    told = await session.execute(_FORGET, {"contact_ids": list(contact_ids)})
    await session.execute(_FORGET_ANSWERS, {"delivery_ids": list(told.scalars())})
