"""What became of a campaign's audience, and when nothing is open any more.

A campaign is finished only when everybody in its audience is settled: sent, vetoed, bounced, failed or indeterminate.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import ColumnElement, exists, func, select, text, update

from chassis.database import TenantSession
from flownurture.sending.v1.events_pb2 import CampaignCompleted
from services.sending.campaigns import Campaign, get_campaign
from services.sending.statuses import BatchStatus, CampaignStatus, MessageStatus
from services.sending.subject_tests import VariantResult, results_of
from services.sending.tables import batches, campaigns

# For the scheduler's role.
CAMPAIGNS_THAT_MAY_BE_COMPLETE = text("""
    SELECT organization_id, id FROM sending.campaigns AS campaign
    WHERE status = 'sending' AND audience_complete AND NOT EXISTS (
        SELECT FROM sending.batches AS batch
        WHERE batch.organization_id = campaign.organization_id AND batch.campaign_id = campaign.id
          AND batch.status <> 'settled'
    )
    LIMIT 64
""")

# In one statement, and so at one moment: two counts may not be taken from each other while messages come and go.
_COUNT = text("""
    SELECT CASE WHEN message.status = 'queued' AND batch.status = 'approved' THEN 'approved' ELSE message.status END AS status,
           count(*) AS messages
    FROM messages AS message
    LEFT JOIN batches AS batch ON batch.organization_id = message.organization_id AND batch.id = message.batch_id
    WHERE message.campaign_id = :campaign_id
    GROUP BY 1
""")


@dataclass(frozen=True, slots=True)
class Report:
    """A campaign, the number of its messages by status, and how many the dispatch has let go."""

    campaign: Campaign
    counts: Mapping[str, int]
    released: int
    # Of a campaign that tries several subjects.
    variants: Sequence[VariantResult] = ()

    def count(self, *statuses: MessageStatus) -> int:
        """How many messages are in one of these."""
        return sum(self.counts.get(status.value, 0) for status in statuses)


async def report_on(session: TenantSession, campaign_id: UUID) -> Report:
    """Count a campaign's messages. Raises NotFound."""
    campaign = await get_campaign(session, campaign_id)
    counted = await session.execute(_COUNT, {"campaign_id": campaign_id})
    held = await session.scalar(
        select(func.coalesce(func.sum(batches.c.size), 0)).where(
            batches.c.campaign_id == campaign_id, batches.c.status == BatchStatus.HELD.value
        )
    )
    return Report(
        campaign,
        {row.status: row.messages for row in counted},
        # Batches may have come since the campaign was looked at.
        released=max(0, campaign.audience - held),
        variants=await results_of(session, campaign_id) if campaign.subject_test else (),
    )


def nothing_is_open() -> ColumnElement[bool]:
    """Of a row of `campaigns`: that each of its batches is settled, and so each of its messages."""
    return ~exists().where(
        batches.c.organization_id == campaigns.c.organization_id,
        batches.c.campaign_id == campaigns.c.id,
        batches.c.status != BatchStatus.SETTLED.value,
    )


async def complete_if_settled(session: TenantSession, campaign_id: UUID) -> bool:
    """Complete the campaign when nothing of it is open; True for the one call that does."""
    completed = await session.execute(
        update(campaigns)
        .where(
            campaigns.c.id == campaign_id,
            campaigns.c.status == CampaignStatus.SENDING.value,
            campaigns.c.audience_complete,
            nothing_is_open(),
        )
        .values(status=CampaignStatus.COMPLETED.value, completed_at=func.clock_timestamp())
    )
    if completed.rowcount != 1:
        return False
    report = await report_on(session, campaign_id)
    session.publish(
        CampaignCompleted(
            campaign_id=str(campaign_id),
            audience=report.campaign.audience,
            sent=report.count(MessageStatus.SENT, MessageStatus.DELIVERED),
            vetoed=report.count(MessageStatus.VETOED),
            bounced=report.count(MessageStatus.BOUNCED),
            failed=report.count(MessageStatus.FAILED),
            indeterminate=report.count(MessageStatus.INDETERMINATE),
        )
    )
    return True
