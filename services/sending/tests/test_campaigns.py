"""A campaign from its draft to its last message."""

import asyncio
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from chassis.database import Database, RoleDatabase
from chassis.errors import Conflict, InvalidRequest, NotFound, Unavailable
from chassis.tests.deadlines import until
from flownurture.sending.v1 import campaigns_pb2 as pb
from flownurture.sending.v1.events_pb2 import CampaignCompleted, CampaignLaunched, SendsRequested
from services.sending.accounting import complete_if_settled
from services.sending.campaigns import update_campaign
from services.sending.completion import Completion
from services.sending.delivery.worker import Worker
from services.sending.fan_out import FanOut
from services.sending.tests.audience import Audience
from services.sending.tests.rounds import complete_all
from services.sending.tests.tenant import Tenant


async def test_a_draft_can_be_changed_and_deleted(tenant: Tenant) -> None:
    draft = await tenant.draft("reader@example.com")
    changed = await tenant(pb.UpdateCampaignRequest(campaign_id=draft.id, subject="Better news"))
    assert (changed.subject, changed.name) == ("Better news", "News")
    (listed,) = (await tenant(pb.ListCampaignsRequest())).campaigns
    assert (listed.html, listed.text) == ("", "")
    changed.ClearField("html")
    changed.ClearField("text")
    assert listed == changed
    await tenant(pb.DeleteCampaignRequest(campaign_id=draft.id))
    with pytest.raises(NotFound):
        await tenant(pb.GetCampaignRequest(campaign_id=draft.id))


async def test_launching_twice_is_launching_once(tenant: Tenant, fan_out: FanOut) -> None:
    draft = await tenant.draft("reader@example.com")
    request = pb.LaunchCampaignRequest(campaign_id=draft.id)
    await asyncio.gather(*(tenant(request) for _ in range(5)))
    await asyncio.gather(*(fan_out.fan_out(tenant.context, UUID(draft.id)) for _ in range(5)))
    assert len(await tenant.published(CampaignLaunched)) == 1
    assert await tenant.statuses() == {"reader@example.com": "queued"}


async def test_a_change_under_way_is_in_what_is_launched(tenant: Tenant, database: Database) -> None:
    draft = await tenant.draft("reader@example.com")
    async with database.tenant_transaction(tenant.context) as session:
        await update_campaign(session, UUID(draft.id), {"html": "<p>Corrected</p>"})
        launch = asyncio.create_task(tenant(pb.LaunchCampaignRequest(campaign_id=draft.id)))
        pid = await session.scalar(text("SELECT pg_backend_pid()"))

        async def launch_waits() -> bool:
            # Row-level security binds tables; who waits for this transaction is the server's to tell.
            async with database.platform_transaction() as connection:
                waiting = text(
                    "SELECT count(*) FROM pg_stat_activity WHERE :pid = ANY(pg_blocking_pids(pid))"
                )
                return bool(await connection.scalar(waiting, {"pid": pid}))

        await until(launch_waits)
    assert (await launch).html == "<p>Corrected</p>"


async def test_what_was_launched_can_no_longer_be_changed(tenant: Tenant) -> None:
    campaign = await tenant.launch("reader@example.com")
    with pytest.raises(Conflict):
        await tenant(pb.UpdateCampaignRequest(campaign_id=campaign, subject="Other"))
    with pytest.raises(Conflict):
        await tenant(pb.DeleteCampaignRequest(campaign_id=campaign))


async def test_a_campaign_without_a_body_cannot_be_launched(tenant: Tenant) -> None:
    draft = await tenant.draft("reader@example.com", html="", text=" ")
    with pytest.raises(InvalidRequest) as refused:
        await tenant(pb.LaunchCampaignRequest(campaign_id=draft.id))
    assert [violation.field for violation in refused.value.violations] == ["html"]


async def test_a_list_of_another_organization_does_not_exist(tenant: Tenant, stranger: Tenant) -> None:
    draft = await tenant.draft()
    foreign = pb.CampaignAudience(list_ids=[stranger.add_list("victim@example.com")])
    await tenant(pb.UpdateCampaignRequest(campaign_id=draft.id, audience=foreign))
    with pytest.raises(InvalidRequest) as refused:
        await tenant(pb.LaunchCampaignRequest(campaign_id=draft.id))
    assert [violation.field for violation in refused.value.violations] == ["audience"]


async def test_another_organizations_campaign_does_not_exist(tenant: Tenant, stranger: Tenant) -> None:
    draft = await tenant.draft("reader@example.com")
    for request in (
        pb.GetCampaignRequest(campaign_id=draft.id),
        pb.UpdateCampaignRequest(campaign_id=draft.id, name="Mine"),
        pb.DeleteCampaignRequest(campaign_id=draft.id),
        pb.LaunchCampaignRequest(campaign_id=draft.id),
        pb.GetCampaignReportRequest(campaign_id=draft.id),
        pb.ListCampaignMessagesRequest(campaign_id=draft.id),
    ):
        with pytest.raises(NotFound):
            await stranger(request)
    assert not (await stranger(pb.ListCampaignsRequest())).campaigns


async def test_an_audience_that_cannot_be_asked_is_asked_again(
    tenant: Tenant, fan_out: FanOut, audience: Audience
) -> None:
    draft = await tenant.draft(*(f"reader{number}@example.com" for number in range(120)))
    await tenant(pb.LaunchCampaignRequest(campaign_id=draft.id))
    audience.down = True
    try:
        with pytest.raises(Unavailable):
            await fan_out.fan_out(tenant.context, UUID(draft.id))
    finally:
        audience.down = False
    await tenant.rows("UPDATE campaigns SET lease_until = now()")
    await fan_out.fan_out(tenant.context, UUID(draft.id))
    report = await tenant.report(draft.id)
    assert (report.audience, report.queued, report.audience_complete) == (120, 120, True)
    await tenant.release()
    assert sum(event.message_count for event in await tenant.published(SendsRequested)) == 120


async def test_a_fan_out_that_died_is_resumed_behind_its_last_page(tenant: Tenant, fan_out: FanOut) -> None:
    draft = await tenant.draft(*(f"reader{number}@example.com" for number in range(300)))
    await tenant(pb.LaunchCampaignRequest(campaign_id=draft.id))
    begun = asyncio.create_task(fan_out.fan_out(tenant.context, UUID(draft.id)))

    async def has_a_page() -> bool:
        return bool(await tenant.statuses())

    await until(has_a_page)
    begun.cancel()
    await asyncio.gather(begun, return_exceptions=True)
    await tenant.rows("UPDATE campaigns SET lease_until = now() WHERE NOT audience_complete")
    await fan_out.fan_out(tenant.context, UUID(draft.id))
    assert (await tenant.report(draft.id)).audience == len(await tenant.statuses()) == 300


async def test_a_campaign_is_complete_only_when_everybody_is_settled(
    tenant: Tenant, worker: Worker, database: Database
) -> None:
    campaign = await tenant.launch(*(f"reader{number}@example.com" for number in range(60)))

    async def completed() -> bool:
        async with database.tenant_transaction(tenant.context) as session:
            return await complete_if_settled(session, UUID(campaign))

    assert not await completed()
    await tenant.deliver(worker)
    assert [await completed() for _ in range(3)] == [True, False, False]
    (event,) = await tenant.published(CampaignCompleted)
    assert (event.audience, event.sent) == (60, 60)
    assert (await tenant(pb.GetCampaignRequest(campaign_id=campaign))).status == pb.CAMPAIGN_STATUS_COMPLETED


async def test_a_campaign_to_nobody_is_completed_by_the_sweep(
    tenant: Tenant, database: Database, scheduler: RoleDatabase
) -> None:
    campaign = await tenant.launch()
    await complete_all(Completion(database, scheduler))
    assert (await tenant(pb.GetCampaignRequest(campaign_id=campaign))).status == pb.CAMPAIGN_STATUS_COMPLETED


async def test_messages_are_listed_in_pages_that_join(tenant: Tenant) -> None:
    readers = {f"reader{number}@example.com" for number in range(23)}
    campaign = await tenant.launch(*readers)
    found, token, more = [], "", True
    while more:
        page = await tenant(
            pb.ListCampaignMessagesRequest(campaign_id=campaign, page_size=5, page_token=token)
        )
        found += [message.to for message in page.messages]
        token, more = page.next_page_token, bool(page.next_page_token)
    assert len(found) == 23
    assert set(found) == readers


async def test_a_campaign_nobody_made_is_not_found(tenant: Tenant) -> None:
    with pytest.raises(NotFound):
        await tenant(pb.GetCampaignRequest(campaign_id=str(uuid4())))
