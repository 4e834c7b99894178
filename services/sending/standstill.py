"""Stopping whatever goes out for an organization, by itself or by the clock."""

from sqlalchemy import select

from chassis.database import TenantSession
from services.sending.campaigns import pause_campaign, unschedule_campaign
from services.sending.statuses import CampaignStatus
from services.sending.tables import campaigns, workflows
from services.sending.workflows.lifecycle import WorkflowStatus, pause_workflow


async def stop_everything(session: TenantSession) -> None:
    """Pause what is being sent and every workflow, and make drafts of what is scheduled."""
    open_campaigns = await session.execute(
        select(campaigns.c.id, campaigns.c.status)
        .where(campaigns.c.status.in_([CampaignStatus.SENDING.value, CampaignStatus.SCHEDULED.value]))
        .order_by(campaigns.c.id)
        # One that is scheduled does not begin meanwhile.
        .with_for_update(key_share=True)
    )
    for campaign in open_campaigns.all():
        stop = pause_campaign if campaign.status == CampaignStatus.SENDING.value else unschedule_campaign
        await stop(session, campaign.id)
    active = await session.execute(
        select(workflows.c.id)
        .where(workflows.c.status == WorkflowStatus.ACTIVE.value)
        .order_by(workflows.c.id)
    )
    for workflow_id in active.scalars().all():
        await pause_workflow(session, workflow_id)
