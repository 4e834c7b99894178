"""The dispatch lets batches go in their order, never more at once than its window has room for."""

import asyncio
from uuid import UUID

import pytest
from sqlalchemy import text

from chassis.database import Database, RoleDatabase
from chassis.tests.deadlines import until
from flownurture.sending.v1 import campaigns_pb2 as pb
from flownurture.sending.v1.events_pb2 import CampaignCompleted, SendsRequested
from services.sending.delivery.worker import Worker
from services.sending.dispatch import Dispatch, release
from services.sending.suppression.veto import decide
from services.sending.tests.relay import MailRelay
from services.sending.tests.tenant import Tenant


@pytest.fixture
def dispatch(database: Database, scheduler: RoleDatabase) -> Dispatch:
    return Dispatch(database, scheduler)


def everybody(count: int) -> list[str]:
    return [f"reader{number:03}@example.com" for number in range(count)]


async def let_go(tenant: Tenant, campaign: str, window: int) -> int:
    async with tenant.database.tenant_transaction(tenant.context) as session:
        return await release(session, UUID(campaign), window=window)


async def ordered(tenant: Tenant) -> list[UUID]:
    """The batches that the suppression process was asked about, in the order of asking."""
    return [UUID(event.batch_id) for event in await tenant.published(SendsRequested)]


async def hand_over(tenant: Tenant, worker: Worker, batch_id: UUID) -> None:
    async with tenant.database.tenant_transaction(tenant.context) as session:
        await decide(session, batch_id)
    await worker.deliver(tenant.context, batch_id)


async def test_batches_are_released_in_order_and_only_as_others_are_settled(
    tenant: Tenant, worker: Worker, relay: MailRelay
) -> None:
    campaign = await tenant.launch(*everybody(220))
    batches = [row.id for row in await tenant.rows("SELECT id FROM batches ORDER BY id")]
    assert (len(batches), await ordered(tenant)) == (5, [])
    report = await tenant.report(campaign)
    assert (report.audience, report.released, report.queued) == (220, 0, 220)

    assert [await let_go(tenant, campaign, 2) for _ in range(2)] == [2, 0]
    assert (await tenant.report(campaign)).released == 100
    async with tenant.database.tenant_transaction(tenant.context) as session:
        await decide(session, batches[0])
    assert await let_go(tenant, campaign, 2) == 0
    for batch_id in batches:
        await hand_over(tenant, worker, batch_id)
        await let_go(tenant, campaign, 2)
    assert await ordered(tenant) == batches
    assert relay.handed_over == dict.fromkeys(everybody(220), 1)


async def test_many_at_once_release_no_more_than_one_would(tenant: Tenant) -> None:
    campaign = await tenant.launch(*everybody(400))
    assert sum(await asyncio.gather(*(let_go(tenant, campaign, 3) for _ in range(8)))) == 3
    assert len(set(await ordered(tenant))) == len(await ordered(tenant)) == 3


async def test_what_is_deferred_in_every_batch_holds_up_no_other(
    tenant: Tenant, worker: Worker, relay: MailRelay
) -> None:
    deferred = set(everybody(200)[::50])

    async def is_busy_for_some(recipient: str) -> str:
        return "451 4.7.1 later" if recipient in deferred else "250 OK"

    relay.on_recipient = is_busy_for_some
    campaign = await tenant.launch(*everybody(200))
    handed_over: set[UUID] = set()
    async with asyncio.timeout(60):
        while (await tenant.report(campaign)).queued:
            await let_go(tenant, campaign, 1)
            # Others that run meanwhile let go of what they find, in any organization.
            for batch_id in set(await ordered(tenant)) - handed_over:
                await hand_over(tenant, worker, batch_id)
                handed_over.add(batch_id)
    report = await tenant.report(campaign)
    became = await tenant.rows(
        "SELECT status, smtp_reply, count(*) FROM messages GROUP BY status, smtp_reply"
    )
    assert (report.sent, report.deferred, report.released) == (196, 4, 200), became


async def test_a_paused_campaign_releases_nothing_until_it_is_resumed(tenant: Tenant) -> None:
    campaign = await tenant.launch(*everybody(120))
    assert await let_go(tenant, campaign, 1) == 1
    await tenant(pb.PauseCampaignRequest(campaign_id=campaign))
    assert await let_go(tenant, campaign, 3) == 0
    await tenant(pb.ResumeCampaignRequest(campaign_id=campaign))
    assert await let_go(tenant, campaign, 3) == 2


async def test_a_pause_does_not_wait_for_the_page_that_is_being_written(tenant: Tenant) -> None:
    campaign = await tenant.launch("reader@example.com")
    async with tenant.database.tenant_transaction(tenant.context) as session:
        await session.execute(
            text("""
                INSERT INTO messages (id, batch_id, campaign_id, email, email_digest)
                SELECT uuidv7(), batch_id, campaign_id, email, email_digest FROM messages
            """)
        )
        async with asyncio.timeout(10):
            paused = await tenant(pb.PauseCampaignRequest(campaign_id=campaign))
    assert paused.status == pb.CAMPAIGN_STATUS_PAUSED


async def test_woken_it_releases_and_once_the_last_batch_is_settled_completes(
    tenant: Tenant, dispatch: Dispatch, worker: Worker
) -> None:
    running = asyncio.create_task(dispatch.run())
    try:
        campaign = await tenant.launch(*everybody(120))
        dispatch.wake(tenant.context, UUID(campaign))

        async def all_are_ordered() -> bool:
            return len(await ordered(tenant)) == 3

        await until(all_are_ordered)
        for batch_id in await ordered(tenant):
            await hand_over(tenant, worker, batch_id)
        dispatch.wake(tenant.context, UUID(campaign))

        async def is_completed() -> bool:
            return bool(await tenant.published(CampaignCompleted))

        await until(is_completed)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_what_nobody_woke_it_for_is_found_by_the_poll(tenant: Tenant, dispatch: Dispatch) -> None:
    campaign = await tenant.launch(*everybody(60))

    async def all_are_released() -> bool:
        await dispatch.round()
        return (await tenant.report(campaign)).released == 60

    await until(all_are_released)
