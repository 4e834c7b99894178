"""A campaign that is to be sent at a time is sent then, and can be changed back until then."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import uuid4

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from chassis.database import Database, RoleDatabase
from chassis.errors import Conflict, NotFound
from flownurture.sending.v1 import campaigns_pb2 as pb
from flownurture.sending.v1 import templates_pb2
from flownurture.sending.v1.events_pb2 import CampaignLaunched
from services.sending.cancellation import Cancellation
from services.sending.fan_out import FanOut
from services.sending.schedule import Schedule
from services.sending.tests.tenant import Tenant


def moment(time: datetime) -> Timestamp:
    written = Timestamp()
    written.FromDatetime(time)
    return written


TOMORROW = datetime.now(UTC) + timedelta(days=1)
YESTERDAY = moment(datetime.now(UTC) - timedelta(days=1))


@pytest.fixture
def schedule(database: Database, scheduler: RoleDatabase, fan_out: FanOut) -> Schedule:
    return Schedule(database, scheduler, fan_out)


async def scheduled(tenant: Tenant, **fields: Any) -> str:
    draft = await tenant.draft("reader@example.com", send_at=TOMORROW, **fields)
    launched = await tenant(pb.LaunchCampaignRequest(campaign_id=draft.id))
    assert launched.status == pb.CAMPAIGN_STATUS_SCHEDULED
    assert not launched.HasField("launched_at")
    return draft.id


async def status_of(tenant: Tenant, campaign: str) -> "pb.CampaignStatus.ValueType":
    found: pb.Campaign = await tenant(pb.GetCampaignRequest(campaign_id=campaign))
    return found.status


async def test_a_scheduled_campaign_starts_when_its_time_has_come_and_once(
    tenant: Tenant, schedule: Schedule
) -> None:
    campaign = await scheduled(tenant)
    await schedule.round()
    assert await status_of(tenant, campaign) == pb.CAMPAIGN_STATUS_SCHEDULED
    assert await tenant.published(CampaignLaunched) == []

    # As if the processes had been down when it came.
    await tenant.rows("UPDATE campaigns SET send_at = now() - interval '1 hour'")
    for _ in range(2):
        await schedule.round()
    assert await status_of(tenant, campaign) == pb.CAMPAIGN_STATUS_SENDING
    assert len(await tenant.published(CampaignLaunched)) == 1


async def test_a_time_that_has_passed_means_now(tenant: Tenant) -> None:
    draft = await tenant.draft("reader@example.com", send_at=YESTERDAY)
    launched = await tenant(pb.LaunchCampaignRequest(campaign_id=draft.id))
    assert launched.status == pb.CAMPAIGN_STATUS_SENDING
    assert launched.HasField("launched_at")


async def test_the_time_is_the_same_moment_in_whichever_zone_it_is_given(tenant: Tenant) -> None:
    in_kathmandu = TOMORROW.astimezone(timezone(timedelta(hours=5, minutes=45)))
    draft = await tenant.draft("reader@example.com", send_at=in_kathmandu)
    assert draft.send_at.ToDatetime(UTC) == TOMORROW


async def test_only_the_time_of_what_is_scheduled_can_be_changed(tenant: Tenant, schedule: Schedule) -> None:
    campaign = await scheduled(tenant)
    with pytest.raises(Conflict):
        await tenant(pb.UpdateCampaignRequest(campaign_id=campaign, subject="Other", send_at=YESTERDAY))
    with pytest.raises(Conflict):
        await tenant(pb.DeleteCampaignRequest(campaign_id=campaign))
    with pytest.raises(Conflict, match="scheduled"):
        await tenant(pb.PauseCampaignRequest(campaign_id=campaign))
    await tenant(pb.UpdateCampaignRequest(campaign_id=campaign, send_at=YESTERDAY))
    await schedule.round()
    assert await status_of(tenant, campaign) == pb.CAMPAIGN_STATUS_SENDING


async def test_what_is_unscheduled_is_a_draft_that_takes_its_template_anew(
    tenant: Tenant, stranger: Tenant
) -> None:
    template = await tenant(templates_pb2.CreateTemplateRequest(name="T", html="<p>Old</p>"))
    campaign = await scheduled(tenant, html="", template_id=template.id)
    request = pb.UnscheduleCampaignRequest(campaign_id=campaign)
    with pytest.raises(NotFound):
        await stranger(request)
    back = await tenant(request)
    assert (back.status, back.html) == (pb.CAMPAIGN_STATUS_DRAFT, "")
    assert await tenant(request) == back
    await tenant(templates_pb2.UpdateTemplateRequest(template_id=template.id, html="<p>New</p>"))
    launched = await tenant(pb.LaunchCampaignRequest(campaign_id=campaign))
    assert "New" in launched.html
    with pytest.raises(NotFound):
        await tenant(pb.UnscheduleCampaignRequest(campaign_id=str(uuid4())))


async def test_what_is_scheduled_can_be_cancelled(
    tenant: Tenant, database: Database, scheduler: RoleDatabase, schedule: Schedule
) -> None:
    campaign = await scheduled(tenant)
    await tenant(pb.CancelCampaignRequest(campaign_id=campaign))
    await tenant.rows("UPDATE campaigns SET send_at = now()")
    await schedule.round()
    await Cancellation(database, scheduler).round()
    report = await tenant.report(campaign)
    assert (report.status, report.audience, report.audience_complete) == (
        pb.CAMPAIGN_STATUS_CANCELLED,
        0,
        True,
    )
