"""A campaign that is held goes nowhere, and goes on where it was."""

import asyncio
from uuid import UUID, uuid4

import pytest

from chassis.database import Database, RoleDatabase
from chassis.errors import Conflict, NotFound
from flownurture.sending.v1 import campaigns_pb2 as pb
from flownurture.suppression.v1.events_pb2 import SendsApproved
from services.sending.batches import BATCHES_TO_DELIVER
from services.sending.completion import Completion
from services.sending.delivery.worker import Worker
from services.sending.fan_out import FanOut
from services.sending.tests.post import Post
from services.sending.tests.relay import MailRelay
from services.sending.tests.rounds import complete_all
from services.sending.tests.tenant import Tenant


@pytest.fixture
def completion(database: Database, scheduler: RoleDatabase) -> Completion:
    return Completion(database, scheduler)


def everybody(count: int) -> list[str]:
    return [f"reader{number}@example.com" for number in range(count)]


async def found_by_the_sweep(tenant: Tenant, scheduler: RoleDatabase) -> list[UUID]:
    """Which of a tenant's batches are found when they have been due for longest."""
    await tenant.rows("UPDATE batches SET due_at = 'epoch'")
    async with scheduler.transaction() as connection:
        found = await connection.execute(BATCHES_TO_DELIVER)
    return [row.id for row in found if row.organization_id == tenant.context.organization]


async def test_nothing_of_a_paused_campaign_goes_out_until_it_is_resumed(
    tenant: Tenant, worker: Worker, relay: MailRelay, scheduler: RoleDatabase
) -> None:
    campaign = await tenant.launch(*everybody(30))
    batches = await tenant.approve()
    paused = await tenant(pb.PauseCampaignRequest(campaign_id=campaign))
    assert paused.status == pb.CAMPAIGN_STATUS_PAUSED
    await tenant.deliver(worker)
    assert relay.handed_over == {}
    # It does not crowd the sweep while it waits.
    assert await found_by_the_sweep(tenant, scheduler) == []

    before = len(await tenant.published(SendsApproved))
    resumed = await tenant(pb.ResumeCampaignRequest(campaign_id=campaign))
    assert resumed.status == pb.CAMPAIGN_STATUS_SENDING
    ordered = [UUID(event.batch_id) for event in (await tenant.published(SendsApproved))[before:]]
    assert ordered == batches
    # Should the order be lost.
    assert await found_by_the_sweep(tenant, scheduler) == batches
    for batch in ordered:
        await worker.deliver(tenant.context, batch)
    assert relay.handed_over == dict.fromkeys(everybody(30), 1)


async def test_a_pause_recalls_what_is_claimed_and_not_begun(
    tenant: Tenant, post: Post, relay: MailRelay
) -> None:
    campaign = await tenant.launch(*everybody(50))
    await tenant.approve()
    pausing: list[asyncio.Task[object]] = []

    async def pause() -> None:
        await tenant(pb.PauseCampaignRequest(campaign_id=campaign))
        await post.recalls.round()

    async def pauses_at_the_fifth(_: str) -> str:
        if len(relay.seen) == 5:
            pausing.append(asyncio.create_task(pause()))
        if pausing:
            await asyncio.shield(pausing[0])
        return "250 OK"

    relay.on_message = pauses_at_the_fifth
    await tenant.deliver(post.worker)
    handed_over = sum(relay.handed_over.values())
    # Three lanes had begun with one each besides, and have offered another.
    assert 5 <= handed_over <= 11
    report = await tenant.report(campaign)
    assert (report.sent, report.approved) == (handed_over, 50 - handed_over)
    await tenant(pb.ResumeCampaignRequest(campaign_id=campaign))
    await tenant.deliver(post.worker)
    assert relay.handed_over == dict.fromkeys(everybody(50), 1)


async def test_a_fan_out_that_is_paused_under_way_goes_on_behind_its_last_page(
    tenant: Tenant, fan_out: FanOut, worker: Worker, relay: MailRelay
) -> None:
    campaign = await tenant.draft(*everybody(120))
    await tenant(pb.LaunchCampaignRequest(campaign_id=campaign.id))
    await asyncio.gather(
        fan_out.fan_out(tenant.context, UUID(campaign.id)),
        tenant(pb.PauseCampaignRequest(campaign_id=campaign.id)),
    )
    held = await tenant.report(campaign.id)
    assert held.status == pb.CAMPAIGN_STATUS_PAUSED
    await fan_out.fan_out(tenant.context, UUID(campaign.id))
    assert await tenant.report(campaign.id) == held

    await tenant(pb.ResumeCampaignRequest(campaign_id=campaign.id))
    await fan_out.fan_out(tenant.context, UUID(campaign.id))
    await tenant.deliver(worker)
    assert relay.handed_over == dict.fromkeys(everybody(120), 1)
    (usage,) = await tenant.rows("SELECT emails FROM email_usage")
    assert usage.emails == 120


async def test_only_what_is_being_sent_is_paused_and_both_are_once_however_often(
    tenant: Tenant, stranger: Tenant, worker: Worker, completion: Completion
) -> None:
    draft = await tenant.draft("reader@example.com")
    for request in (pb.PauseCampaignRequest, pb.ResumeCampaignRequest):
        with pytest.raises(Conflict, match="draft"):
            await tenant(request(campaign_id=draft.id))
        with pytest.raises(NotFound):
            await stranger(request(campaign_id=draft.id))
        with pytest.raises(NotFound):
            await tenant(request(campaign_id=str(uuid4())))
    campaign = await tenant.launch("reader@example.com")
    for request in (pb.PauseCampaignRequest, pb.ResumeCampaignRequest):
        first = await tenant(request(campaign_id=campaign))
        assert await tenant(request(campaign_id=campaign)) == first
    await tenant.deliver(worker)
    await complete_all(completion)
    with pytest.raises(Conflict, match="completed"):
        await tenant(pb.PauseCampaignRequest(campaign_id=campaign))


async def test_what_was_settled_while_paused_completes_it_once_resumed(
    tenant: Tenant, worker: Worker, completion: Completion
) -> None:
    campaign = await tenant.launch("reader@example.com")
    await tenant.deliver(worker)
    await tenant(pb.PauseCampaignRequest(campaign_id=campaign))
    await complete_all(completion)
    assert (await tenant.report(campaign)).status == pb.CAMPAIGN_STATUS_PAUSED
    await tenant(pb.ResumeCampaignRequest(campaign_id=campaign))
    await complete_all(completion)
    assert (await tenant.report(campaign)).status == pb.CAMPAIGN_STATUS_COMPLETED
