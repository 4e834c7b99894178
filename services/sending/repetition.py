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
from services.sending.throttle import batch_size

# In new batches, so that nothing changes about those that are settled; but not of people who are forgotten.
_QUEUE_AGAIN = text("""
    WITH doubtful AS MATERIALIZED (
        SELECT message.id, message.smtp_reply, message.settled_at, message.variant, batch.usage_cycle,
               (row_number() OVER (PARTITION BY batch.usage_cycle ORDER BY message.id) - 1) / :size AS number
        FROM messages AS message JOIN batches AS batch
          ON batch.organization_id = message.organization_id AND batch.id = message.batch_id
        WHERE message.campaign_id = :campaign_id AND message.status = 'indeterminate' AND message.email <> ''
    ), made AS MATERIALIZED (
        SELECT uuidv7() AS id, usage_cycle, number, count(*) AS size, bool_or(variant IS NOT NULL) AS of_test
        FROM doubtful GROUP BY usage_cycle, number
    ), added AS (
        INSERT INTO batches (id, campaign_id, status, size, of_test, usage_cycle)
        SELECT id, :campaign_id, 'held', size, of_test, usage_cycle FROM made
    ), noted AS (
        INSERT INTO message_events (message_id, status, detail, occurred_at)
        SELECT id, 'indeterminate', smtp_reply, settled_at FROM doubtful
    )
    UPDATE messages
    SET status = 'queued', batch_id = made.id, settled_at = NULL, smtp_reply = '', attempts = 0
    FROM doubtful JOIN made
      ON made.usage_cycle IS NOT DISTINCT FROM doubtful.usage_cycle AND made.number = doubtful.number
    WHERE messages.id = doubtful.id
""")


async def retry_indeterminate(session: TenantSession, campaign_id: UUID) -> Campaign:
    """Queue what is in doubt of a campaign again. Doing so once more finds nothing. Raises NotFound, or Conflict when it is not sent."""
    status = await hold_campaign(session, campaign_id)
    if status not in (CampaignStatus.SENDING, CampaignStatus.PAUSED, CampaignStatus.COMPLETED):
        raise Conflict(f"This takes a campaign that was sent, and the status of this one is {status.value}.")
    campaign = await get_campaign(session, campaign_id)
    size = batch_size(campaign.messages_per_hour)
    again = await session.execute(_QUEUE_AGAIN, {"campaign_id": campaign_id, "size": size})
    if again.rowcount and status is CampaignStatus.COMPLETED:
        await session.execute(
            update(campaigns)
            .where(campaigns.c.id == campaign_id)
            .values(status=CampaignStatus.SENDING.value, completed_at=None)
        )
    return await get_campaign(session, campaign_id)
