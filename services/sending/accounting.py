"""What became of a campaign's audience, and when nothing is open any more.

A campaign is finished only when everybody in its audience is settled: sent, vetoed, bounced, failed or indeterminate.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import ColumnElement, exists, func, select, text, update

from chassis.database import TenantSession
from flownurture.sending.v1.events_pb2 import CampaignCompleted
from services.sending.campaigns import Campaign, get_campaign
from services.sending.statuses import UNSETTLED, CampaignStatus, MessageStatus
from services.sending.tables import campaigns, messages

# For the scheduler's role.
CAMPAIGNS_THAT_MAY_BE_COMPLETE = text("""
    SELECT organization_id, id FROM sending.campaigns WHERE status = 'sending' AND audience_complete LIMIT 64
""")


@dataclass(frozen=True, slots=True)
class Report:
    """A campaign and the number of its messages by status."""

    campaign: Campaign
    counts: Mapping[str, int]

    def count(self, *statuses: MessageStatus) -> int:
        """How many messages are in one of these."""
        return sum(self.counts.get(status.value, 0) for status in statuses)


async def report_on(session: TenantSession, campaign_id: UUID) -> Report:
    """Count a campaign's messages. Raises NotFound."""
    campaign = await get_campaign(session, campaign_id)
    counts = await session.execute(
        select(messages.c.status, func.count().label("messages"))
        .where(messages.c.campaign_id == campaign_id)
        .group_by(messages.c.status)
    )
    return Report(campaign, {row.status: row.messages for row in counts})


def nothing_is_open() -> ColumnElement[bool]:
    """Of a row of `campaigns`: that each of its messages is settled."""
    return ~exists().where(
        messages.c.organization_id == campaigns.c.organization_id,
        messages.c.campaign_id == campaigns.c.id,
        messages.c.status.in_([status.value for status in UNSETTLED]),
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
