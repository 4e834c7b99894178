"""The one way in which a campaign's mail may come twice: its sender wants what is in doubt sent again.

What is in doubt was handed to a connection that broke before its answer. Nobody can tell whether it arrived, so that nothing but
somebody's word repeats it. The veto decides anew, as it does on every batch that is released.
"""

from uuid import UUID

from sqlalchemy import text, update

from chassis.database import TenantSession
from chassis.errors import Conflict
from services.sending.campaigns import Campaign, get_campaign, hold_campaign
from services.sending.statuses import CampaignStatus
from services.sending.tables import campaigns

# Of batches that nobody has in hand any more; and of people who are not forgotten.
_QUEUE_AGAIN = text("""
    WITH settled AS (
        SELECT id FROM batches
        WHERE status = 'settled' AND id IN (
            SELECT batch_id FROM messages
            WHERE campaign_id = :campaign_id AND status = 'indeterminate' AND email <> ''
        )
        FOR UPDATE
    ), again AS (
        UPDATE messages SET status = 'queued', settled_at = NULL, smtp_reply = '', attempts = 0
        FROM settled
        WHERE messages.batch_id = settled.id AND messages.status = 'indeterminate' AND messages.email <> ''
        RETURNING messages.id, messages.batch_id
    ), noted AS (
        INSERT INTO message_events (message_id, status, detail)
        SELECT id, 'queued', 'again, at the word of its sender' FROM again
    )
    UPDATE batches SET status = 'held', tried = false, size = counted.messages
    FROM (SELECT batch_id, count(*) AS messages FROM again GROUP BY batch_id) AS counted
    WHERE batches.id = counted.batch_id
""")


async def retry_indeterminate(session: TenantSession, campaign_id: UUID) -> Campaign:
    """Queue what is in doubt of a campaign again. Doing so once more finds nothing. Raises NotFound, or Conflict when it is not sent."""
    status = await hold_campaign(session, campaign_id)
    if status not in (CampaignStatus.SENDING, CampaignStatus.PAUSED, CampaignStatus.COMPLETED):
        raise Conflict(f"This takes a campaign that was sent, and the status of this one is {status.value}.")
    again = await session.execute(_QUEUE_AGAIN, {"campaign_id": campaign_id})
    if again.rowcount and status is CampaignStatus.COMPLETED:
        await session.execute(
            update(campaigns)
            .where(campaigns.c.id == campaign_id)
            .values(status=CampaignStatus.SENDING.value, completed_at=None)
        )
    return await get_campaign(session, campaign_id)
