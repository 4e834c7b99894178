"""Batches: what one event orders. At most some hundred messages of a campaign, or one single message."""

from uuid import UUID

from sqlalchemy import text

from chassis.database import TenantSession
from flownurture.suppression.v1.events_pb2 import SendsApproved

_BEGIN = text("""
    WITH again AS (
        UPDATE messages SET status = 'approved', next_attempt_at = NULL
        WHERE batch_id = :batch_id AND status = 'deferred' AND next_attempt_at <= now()
        RETURNING id
    ), looked_after AS (
        UPDATE batches SET due_at = now() + interval '60 seconds' WHERE id = :batch_id AND status = 'approved'
    )
    SELECT (SELECT count(*) FROM again)
         + (SELECT count(*) FROM messages WHERE batch_id = :batch_id AND status = 'approved')
""")
_CLOSE = text("""
    UPDATE batches
    SET status = CASE WHEN left_over.open = 0 THEN 'settled' ELSE batches.status END,
        tried = batches.tried OR left_over.open = left_over.deferred,
        due_at = CASE
            WHEN left_over.open = left_over.deferred THEN coalesce(left_over.next_attempt_at, batches.due_at)
            -- Those of a paused campaign are ordered again when it is resumed; until then they leave the sweep to others.
            WHEN EXISTS (
                SELECT FROM campaigns WHERE campaigns.organization_id = batches.organization_id
                  AND campaigns.id = batches.campaign_id AND campaigns.status = 'paused'
            ) THEN now() + interval '10 minutes'
            ELSE now() + interval '60 seconds'
        END
    FROM (
        SELECT count(*) AS open, count(*) FILTER (WHERE status = 'deferred') AS deferred,
               min(next_attempt_at) AS next_attempt_at
        FROM messages
        WHERE batch_id = :batch_id AND status IN ('queued', 'approved', 'sending', 'deferred')
    ) AS left_over
    WHERE batches.id = :batch_id AND batches.status = 'approved'
""")

_ORDER_AGAIN = text("""
    UPDATE batches SET due_at = now() + interval '60 seconds'
    WHERE campaign_id = :campaign_id AND status = 'approved' AND NOT tried
    RETURNING id
""")

# For the scheduler's role: approved batches whose event was lost, or whose deferred messages are due.
BATCHES_TO_DELIVER = text("""
    SELECT organization_id, id FROM sending.batches
    WHERE status = 'approved' AND due_at <= now() ORDER BY due_at LIMIT 256
""")


async def order_again(session: TenantSession, campaign_id: UUID) -> None:
    """Order delivery to look at a campaign's approved batches; those whose messages were all attempted are due by themselves."""
    ordered = await session.execute(_ORDER_AGAIN, {"campaign_id": campaign_id})
    for batch_id in ordered.scalars():
        session.publish(SendsApproved(batch_id=str(batch_id)))


async def begin_batch(session: TenantSession, batch_id: UUID) -> int:
    """Approve again what was deferred until now; answers how many messages of the batch are approved."""
    return int(await session.scalar(_BEGIN, {"batch_id": batch_id}))


async def close_batch(session: TenantSession, batch_id: UUID) -> None:
    """Settle the batch when nothing of it is open; otherwise look again when its next message is due."""
    await session.execute(_CLOSE, {"batch_id": batch_id})
