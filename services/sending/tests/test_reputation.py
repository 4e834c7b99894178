"""Who sends what too many complain about, or to addresses that do not exist, is stopped, and told why."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from chassis.database import Database, RoleDatabase
from chassis.errors import InvalidRequest, NotFound
from chassis.identifiers import new_id
from flownurture.sending.v1 import campaigns_pb2
from flownurture.sending.v1 import reputation_pb2 as pb
from flownurture.sending.v1.events_pb2 import CampaignsPaused, ReputationOverridden
from services.sending.analytics.message_counts import count_messages
from services.sending.reputation import thresholds
from services.sending.reputation_watch import ReputationWatch, pause_when_at_risk
from services.sending.statuses import MessageStatus, PauseReason, SuppressionReason
from services.sending.suppression_list import Suppressed, suppress
from services.sending.tests.plan import Plan
from services.sending.tests.tenant import Tenant


async def became_of(
    tenant: Tenant,
    outcomes: Mapping[MessageStatus, int],
    *,
    complaints: int = 0,
    ago: timedelta = timedelta(),
) -> None:
    """Let so many messages have ended so."""
    moment = datetime.now(UTC) - ago
    complained = [
        Suppressed(bytes([number] * 32), SuppressionReason.COMPLAINT, message_id=new_id())
        for number in range(complaints)
    ]
    async with tenant.database.tenant_transaction(tenant.context) as session:
        for status, number in outcomes.items():
            await count_messages(session, [(moment, status)] * number)
        await suppress(session, complained)


async def look(tenant: Tenant) -> None:
    async with tenant.database.tenant_transaction(tenant.context) as session:
        await pause_when_at_risk(session)


async def campaign(tenant: Tenant, campaign_id: str) -> campaigns_pb2.Campaign:
    found: campaigns_pb2.Campaign = await tenant(campaigns_pb2.GetCampaignRequest(campaign_id=campaign_id))
    return found


def in_days(days: float) -> Timestamp:
    moment = Timestamp()
    moment.FromDatetime(datetime.now(UTC) + timedelta(days=days))
    return moment


@pytest.mark.parametrize(
    ("outcomes", "complaints", "reason"),
    [
        ({MessageStatus.SENT: 1_000}, 3, None),
        ({MessageStatus.SENT: 1_000}, 4, PauseReason.COMPLAINTS),
        ({MessageStatus.SENT: 999}, 100, None),
        ({MessageStatus.SENT: 950, MessageStatus.BOUNCED: 50}, 0, None),
        ({MessageStatus.SENT: 949, MessageStatus.BOUNCED: 51}, 0, PauseReason.BOUNCES),
        ({MessageStatus.SENT: 9, MessageStatus.BOUNCED: 900}, 0, None),
        ({MessageStatus.SENT: 1_000, MessageStatus.DEFERRED: 900, MessageStatus.FAILED: 900}, 0, None),
    ],
)
async def test_what_is_being_sent_is_paused_above_a_share_of_enough_messages(
    tenant: Tenant, outcomes: Mapping[MessageStatus, int], complaints: int, reason: PauseReason | None
) -> None:
    launched = await tenant.launch("reader@example.com")
    await became_of(tenant, outcomes, complaints=complaints)
    await look(tenant)
    found = await campaign(tenant, launched)
    if reason is None:
        assert found.status == campaigns_pb2.CAMPAIGN_STATUS_SENDING
        assert not await tenant.published(CampaignsPaused)
        return
    assert found.status == campaigns_pb2.CAMPAIGN_STATUS_PAUSED
    assert found.pause_reason == campaigns_pb2.PauseReason.Value(f"PAUSE_REASON_{reason.name}")
    (alert,) = await tenant.published(CampaignsPaused)
    assert (list(alert.campaign_ids), alert.reason) == ([launched], found.pause_reason)
    assert alert.share > alert.threshold == thresholds().shares[reason]


async def test_what_happened_more_than_a_day_ago_is_over(tenant: Tenant) -> None:
    await became_of(tenant, {MessageStatus.SENT: 1_000, MessageStatus.BOUNCED: 900}, ago=timedelta(hours=26))
    reputation = await tenant(pb.GetReputationRequest())
    assert (reputation.messages, reputation.bounces) == (0, 0)


async def test_a_complaint_that_follows_its_person_counts_once(tenant: Tenant) -> None:
    message_id = new_id()
    async with tenant.database.tenant_transaction(tenant.context) as session:
        for digest in (bytes(32), bytes([1] * 32)):
            await suppress(session, [Suppressed(digest, SuppressionReason.COMPLAINT, message_id=message_id)])
    assert (await tenant(pb.GetReputationRequest())).complaints == 1


async def test_only_the_organization_whose_mail_it_is_is_paused(
    tenant: Tenant, stranger: Tenant, database: Database, scheduler: RoleDatabase
) -> None:
    theirs, others = await tenant.launch("reader@example.com"), await stranger.launch("reader@example.com")
    await became_of(tenant, {MessageStatus.SENT: 1_000}, complaints=10)
    await ReputationWatch(database, scheduler).round()
    assert (await campaign(tenant, theirs)).status == campaigns_pb2.CAMPAIGN_STATUS_PAUSED
    assert (await campaign(stranger, others)).status == campaigns_pb2.CAMPAIGN_STATUS_SENDING


async def test_a_campaign_that_is_resumed_is_paused_again_until_an_operator_overrides_it(
    tenant: Tenant,
) -> None:
    launched = await tenant.launch("reader@example.com")
    await became_of(tenant, {MessageStatus.SENT: 1_000}, complaints=10)
    resume = campaigns_pb2.ResumeCampaignRequest(campaign_id=launched)
    for _ in range(2):
        await look(tenant)
        assert (await campaign(tenant, launched)).status == campaigns_pb2.CAMPAIGN_STATUS_PAUSED
        resumed = await tenant(resume)
        assert resumed.pause_reason == campaigns_pb2.PAUSE_REASON_UNSPECIFIED
    organization_id = str(tenant.context.organization)
    until = in_days(7)
    answer = await tenant.as_operator(
        pb.OverrideReputationRequest(organization_id=organization_id, overridden_until=until)
    )
    assert answer.overridden_until == until
    assert answer.at_risk == campaigns_pb2.PAUSE_REASON_COMPLAINTS
    await look(tenant)
    assert (await campaign(tenant, launched)).status == campaigns_pb2.CAMPAIGN_STATUS_SENDING
    await tenant.as_operator(pb.OverrideReputationRequest(organization_id=organization_id))
    await look(tenant)
    assert (await campaign(tenant, launched)).status == campaigns_pb2.CAMPAIGN_STATUS_PAUSED
    first, second = await tenant.published(ReputationOverridden)
    assert (first.HasField("before"), first.after) == (False, until)
    assert (second.before, second.HasField("after")) == (until, False)
    assert first.actor.id == tenant.context.actor_id


@pytest.mark.parametrize("days", [-1, 31])
async def test_an_override_ends_within_a_month(tenant: Tenant, days: float) -> None:
    request = pb.OverrideReputationRequest(
        organization_id=str(tenant.context.organization), overridden_until=in_days(days)
    )
    with pytest.raises(InvalidRequest) as refused:
        await tenant.as_operator(request)
    assert [violation.field for violation in refused.value.violations] == ["overridden_until"]


async def test_an_organization_that_does_not_exist_has_no_reputation(tenant: Tenant, plan: Plan) -> None:
    plan.forget(tenant.context.organization)
    with pytest.raises(NotFound):
        await tenant.as_operator(
            pb.GetOrganizationReputationRequest(organization_id=str(tenant.context.organization))
        )
