"""Batches: what one event orders. At most some hundred messages of a campaign, or single messages that came together."""

from collections.abc import Collection
from datetime import timedelta
from uuid import UUID

from sqlalchemy import text

from chassis.database import TenantSession
from chassis.soundings import MOST
from flownurture.suppression.v1.events_pb2 import SendsApproved
from services.sending.quiet_hours import IS_QUIET

_CLOSE = text("""
    UPDATE batches
    SET lease_token = NULL, leased_at = NULL,
        status = CASE WHEN left_over.open = 0 THEN 'settled' ELSE batches.status END,
        tried = batches.tried OR left_over.open = left_over.deferred,
        due_at = CASE
            WHEN left_over.open = left_over.deferred THEN coalesce(left_over.next_attempt_at, batches.due_at)
            ELSE now() + interval '5 seconds'
        END
    FROM (
        SELECT given.id, count(message.id) AS open, count(message.id) FILTER (WHERE message.status = 'deferred') AS deferred,
               min(message.next_attempt_at) AS next_attempt_at
        FROM unnest(CAST(:batch_ids AS uuid[])) AS given (id)
        LEFT JOIN messages AS message ON message.batch_id = given.id AND message.status IN ('queued', 'deferred')
        GROUP BY given.id
    ) AS left_over
    WHERE batches.id = left_over.id AND batches.status = 'approved'
      AND batches.lease_token = :token
""")
_LOOK_AGAIN = text("""
    UPDATE batches SET due_at = now() + :wait
    WHERE id = ANY(CAST(:batch_ids AS uuid[])) AND status = 'approved' AND lease_token IS NULL
""")
_LOOK_AT_ONCE = text("UPDATE batches SET due_at = now() WHERE id = ANY(:batch_ids) AND status = 'approved'")
_SETTLE_FREE = text("""
    UPDATE batches SET status = 'settled'
    WHERE id = ANY(:batch_ids) AND lease_token IS NULL AND NOT EXISTS (
        SELECT FROM messages WHERE messages.organization_id = batches.organization_id
          AND messages.batch_id = batches.id AND messages.status IN ('queued', 'deferred')
    )
""")

_ORDER_AGAIN = text("""
    UPDATE batches SET due_at = now() + interval '60 seconds'
    WHERE campaign_id = :campaign_id AND status = 'approved' AND NOT tried
    RETURNING id
""")

# For the scheduler's role: approved batches whose event was lost, or whose deferred messages are due.
_TO_DELIVER = f"""
    FROM sending.batches AS batch
    WHERE status = 'approved' AND due_at <= now() AND lease_token IS NULL AND NOT EXISTS (
        SELECT FROM sending.campaigns AS campaign
        WHERE campaign.organization_id = batch.organization_id AND campaign.id = batch.campaign_id
          AND campaign.status IN ('paused', 'cancelled')
    ) AND (campaign_id IS NULL OR NOT EXISTS (
        SELECT FROM sending.sending_policies AS policy
        WHERE policy.organization_id = batch.organization_id AND {IS_QUIET}
    )) AND NOT EXISTS (
        SELECT FROM sending.standstills AS said WHERE said.organization_id = batch.organization_id AND said.stands_still
    )
"""  # noqa: S608 - of our own words alone
BATCHES_TO_DELIVER = text(f"SELECT organization_id, id {_TO_DELIVER} ORDER BY due_at LIMIT 256")
# How many there are, and for how long they have been due, for soundings.
OVERDUE = text(f"""
    SELECT 'delivery', count(*), coalesce(extract(epoch FROM clock_timestamp() - min(due_at)), 0)
    FROM (SELECT due_at {_TO_DELIVER} ORDER BY due_at LIMIT :most) AS overdue
""").bindparams(most=MOST)  # noqa: S608


async def order_again(session: TenantSession, campaign_id: UUID) -> None:
    """Order delivery to look at a campaign's approved batches; those whose messages were all attempted are due by themselves."""
    ordered = await session.execute(_ORDER_AGAIN, {"campaign_id": campaign_id})
    for batch_id in ordered.scalars():
        session.publish(SendsApproved(batch_id=str(batch_id)))


async def close_batches(session: TenantSession, batch_ids: Collection[UUID], token: UUID) -> None:
    """Give back what was leased with this token: each of which nothing is open is settled, the others are looked at when they are due."""
    await session.execute(_CLOSE, {"batch_ids": list(batch_ids), "token": token})


async def settle_free(session: TenantSession, batch_ids: Collection[UUID]) -> None:
    """Settle those of which nothing is open any more, unless somebody has leased them: they will be given back."""
    await session.execute(_SETTLE_FREE, {"batch_ids": list(batch_ids)})


async def look_again_in(session: TenantSession, batch_ids: Collection[UUID], wait: timedelta) -> None:
    """Let no sweep find these before, if they are open and nobody has them."""
    await session.execute(_LOOK_AGAIN, {"batch_ids": list(batch_ids), "wait": wait})


async def look_at_once(session: TenantSession, batch_ids: Collection[UUID]) -> None:
    """Let the next sweep find these, if they are open."""
    await session.execute(_LOOK_AT_ONCE, {"batch_ids": list(batch_ids)})
