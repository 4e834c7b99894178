"""A campaign that is cancelled ends where it is, and every one of its audience is accounted for."""

from uuid import UUID

import pytest

from chassis.database import Database, RoleDatabase
from chassis.errors import Conflict
from flownurture.sending.v1 import campaigns_pb2 as pb
from flownurture.sending.v1 import messages_pb2
from flownurture.suppression.v1.events_pb2 import SendsVetoed
from services.sending.cancellation import Cancellation
from services.sending.delivery.worker import Worker
from services.sending.fan_out import FanOut
from services.sending.tests.relay import MailRelay
from services.sending.tests.tenant import Tenant


@pytest.fixture
def cancellation(database: Database, scheduler: RoleDatabase) -> Cancellation:
    return Cancellation(database, scheduler)


async def test_what_has_not_gone_out_is_vetoed_and_given_back(
    tenant: Tenant, worker: Worker, relay: MailRelay, fan_out: FanOut, cancellation: Cancellation
) -> None:
    everybody = [f"reader{number}@example.com" for number in range(120)]
    campaign = await tenant.launch(*everybody)
    first, *_ = await tenant.approve()
    await worker.deliver(tenant.context, first)
    cancelled = await tenant(pb.CancelCampaignRequest(campaign_id=campaign))
    assert cancelled.status == pb.CAMPAIGN_STATUS_CANCELLED
    assert await tenant(pb.CancelCampaignRequest(campaign_id=campaign)) == cancelled

    await tenant.deliver(worker)
    await fan_out.fan_out(tenant.context, UUID(campaign))
    assert sum(relay.handed_over.values()) == 50
    await cancellation.round()
    report = await tenant.report(campaign)
    assert (report.sent, report.vetoed, report.audience) == (50, 70, 120)
    assert report.audience_complete
    (usage,) = await tenant.rows("SELECT emails FROM email_usage")
    assert usage.emails == 50
    reasons = [veto.reason for event in await tenant.published(SendsVetoed) for veto in event.messages]
    assert reasons == [messages_pb2.SUPPRESSION_REASON_CANCELLED] * 70
    await cancellation.round()
    assert await tenant.report(campaign) == report


async def test_what_is_in_hand_is_waited_for(tenant: Tenant, cancellation: Cancellation) -> None:
    campaign = await tenant.launch("on.the.wire@example.com", "waiting@example.com")
    await tenant.approve()
    await tenant.rows("UPDATE batches SET lease_token = uuidv7(), leased_at = now()")
    await tenant(pb.CancelCampaignRequest(campaign_id=campaign))
    await cancellation.round()
    held = await tenant.report(campaign)
    assert (held.approved, held.vetoed, held.audience_complete) == (2, 0, False)
    await tenant.rows("UPDATE messages SET status = 'sent' WHERE email LIKE 'on.the.wire%'")
    await tenant.rows("UPDATE batches SET lease_token = NULL, leased_at = NULL")
    await cancellation.round()
    ended = await tenant.report(campaign)
    assert (ended.sent, ended.vetoed, ended.audience_complete) == (1, 1, True)


async def test_a_cancelled_campaign_stays_so(tenant: Tenant) -> None:
    draft = await tenant.draft("reader@example.com")
    with pytest.raises(Conflict, match="draft"):
        await tenant(pb.CancelCampaignRequest(campaign_id=draft.id))
    campaign = await tenant.launch("reader@example.com")
    await tenant(pb.PauseCampaignRequest(campaign_id=campaign))
    await tenant(pb.CancelCampaignRequest(campaign_id=campaign))
    for request in (pb.PauseCampaignRequest, pb.ResumeCampaignRequest):
        with pytest.raises(Conflict, match="cancelled"):
            await tenant(request(campaign_id=campaign))
    assert (await tenant(pb.LaunchCampaignRequest(campaign_id=campaign))).status == (
        pb.CAMPAIGN_STATUS_CANCELLED
    )
