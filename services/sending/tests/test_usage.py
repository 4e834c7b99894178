"""How many e-mails a billing cycle allows: counted when they are accepted, never passed, given back when they are vetoed."""

import asyncio
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from chassis.context import PLATFORM, RequestContext
from chassis.database import Database
from chassis.errors import DomainError, PermissionDenied, Unavailable
from chassis.rpc.client import Peer
from chassis.secret import Secret
from chassis.stamp import Stamper
from flownurture.sending.v1 import campaigns_pb2, usage_pb2
from flownurture.sending.v1.messages_pb2 import SUPPRESSION_REASON_MANUAL
from flownurture.sending.v1.usage_pb2_grpc import EmailUsageServiceStub
from flownurture.suppression.v1 import suppressions_pb2
from services.sending import usage
from services.sending.account_mail import AccountMail
from services.sending.bodies import Body
from services.sending.delivery.worker import Worker
from services.sending.fan_out import FanOut
from services.sending.statuses import MessageStatus
from services.sending.tests.plan import CYCLE, Plan
from services.sending.tests.tenant import Tenant

AT_ONCE = 64
ACCOUNT_MAIL: dict[str, Any] = {"to": "ada@example.com", "subject": "Hello", "body": Body.of("", "Hello")}


def on_a_plan_of(tenant: Tenant, emails: int, plan: Plan) -> None:
    tenant.context = replace(tenant.context, limits=(("emails_per_cycle", emails),))
    plan.allow(tenant.context.organization, emails)


async def counted(tenant: Tenant) -> int:
    async with tenant.database.tenant_transaction(tenant.context) as session:
        return await usage.counted(session, CYCLE)


async def suppress(tenant: Tenant, email: str) -> None:
    await tenant(suppressions_pb2.CreateSuppressionRequest(email=email, reason=SUPPRESSION_REASON_MANUAL))


async def campaign(tenant: Tenant, campaign_id: str) -> campaigns_pb2.Campaign:
    found: campaigns_pb2.Campaign = await tenant(campaigns_pb2.GetCampaignRequest(campaign_id=campaign_id))
    return found


async def go_on(tenant: Tenant, campaign_id: str, fan_out: FanOut) -> None:
    """Let the campaign look again, as if its minute had passed."""
    await tenant.rows("UPDATE campaigns SET lease_until = now()")
    await fan_out.fan_out(tenant.context, UUID(campaign_id))


async def test_of_64_messages_at_one_below_the_limit_exactly_one_passes(tenant: Tenant, plan: Plan) -> None:
    on_a_plan_of(tenant, 4, plan)
    for number in range(3):
        await tenant.message(f"m{number}@example.com")
    outcomes = await asyncio.gather(
        *(tenant.message(f"p{number}@example.com") for number in range(AT_ONCE)), return_exceptions=True
    )
    refused = [outcome for outcome in outcomes if isinstance(outcome, DomainError)]
    assert len(refused) == AT_ONCE - 1
    assert {(type(error), error.reason) for error in refused} == {(PermissionDenied, "PLAN_LIMIT_EXCEEDED")}
    assert (await counted(tenant), len(await tenant.statuses())) == (4, 4)


async def test_a_new_cycle_starts_at_nothing(tenant: Tenant, plan: Plan) -> None:
    on_a_plan_of(tenant, 1, plan)
    await tenant.message("ada@example.com")
    with pytest.raises(PermissionDenied):
        await tenant.message("grace@example.com")
    tenant.context = replace(tenant.context, cycle_started_at=CYCLE.replace(month=12))
    await tenant.message("grace@example.com")


async def test_a_message_to_a_suppressed_address_takes_nothing(tenant: Tenant, plan: Plan) -> None:
    on_a_plan_of(tenant, 1, plan)
    await suppress(tenant, "no@example.com")
    with pytest.raises(DomainError):
        await tenant.message("no@example.com")
    assert await counted(tenant) == 0


async def test_what_is_vetoed_before_approval_or_at_the_claim_is_given_back(
    tenant: Tenant, worker: Worker
) -> None:
    people = [f"p{number}@example.com" for number in range(6)]
    await suppress(tenant, people[0])
    await tenant.launch(*people)
    assert await counted(tenant) == 6
    batches = await tenant.approve()
    assert await counted(tenant) == 5
    await suppress(tenant, people[1])
    await worker.deliver(tenant.context, batches[0])
    assert await tenant.count(MessageStatus.VETOED) == 2
    assert await counted(tenant) == 4


async def test_a_campaign_that_meets_the_limit_waits_and_goes_on_after_an_upgrade(
    tenant: Tenant, plan: Plan, fan_out: FanOut
) -> None:
    on_a_plan_of(tenant, 70, plan)
    people = [f"p{number:03}@example.com" for number in range(120)]
    campaign_id = await tenant.launch(*people)
    assert len(await tenant.statuses()) == 70
    waiting = await campaign(tenant, campaign_id)
    assert waiting.HasField("waiting_for_quota_since")
    assert waiting.status == campaigns_pb2.CAMPAIGN_STATUS_SENDING

    await go_on(tenant, campaign_id, fan_out)
    assert len(await tenant.statuses()) == 70
    assert (await campaign(tenant, campaign_id)).waiting_for_quota_since == waiting.waiting_for_quota_since

    on_a_plan_of(tenant, 1_000, plan)
    await go_on(tenant, campaign_id, fan_out)
    assert set(await tenant.statuses()) == set(people)
    assert await counted(tenant) == 120
    assert not (await campaign(tenant, campaign_id)).HasField("waiting_for_quota_since")


async def test_campaigns_and_messages_at_once_never_pass_the_limit(
    tenant: Tenant, plan: Plan, fan_out: FanOut
) -> None:
    on_a_plan_of(tenant, 90, plan)
    drafts = [await tenant.draft(*(f"{name}{n}@example.com" for n in range(60))) for name in "ab"]
    for draft in drafts:
        await tenant(campaigns_pb2.LaunchCampaignRequest(campaign_id=draft.id))
    await asyncio.gather(
        *(fan_out.fan_out(tenant.context, UUID(draft.id)) for draft in drafts),
        *(tenant.message(f"m{number}@example.com") for number in range(40)),
        return_exceptions=True,
    )
    assert len(await tenant.statuses()) == 90
    assert await counted(tenant) == 90


async def test_when_the_plan_cannot_be_told_a_campaign_waits_and_nothing_is_claimed(
    tenant: Tenant, plan: Plan, fan_out: FanOut
) -> None:
    draft = await tenant.draft("ada@example.com")
    await tenant(campaigns_pb2.LaunchCampaignRequest(campaign_id=draft.id))
    plan.down = True
    try:
        with pytest.raises(Unavailable):
            await fan_out.fan_out(tenant.context, UUID(draft.id))
    finally:
        plan.down = False
    await fan_out.fan_out(tenant.context, UUID(draft.id))
    assert set(await tenant.statuses()) == {"ada@example.com"}


async def test_identity_is_told_what_counts(tenant: Tenant, sending: Peer, service_environment: Any) -> None:
    await tenant.message("ada@example.com")
    key = Secret(service_environment("identity")["STAMP_PRIVATE_KEY"])
    request = usage_pb2.CountEmailsRequest()
    request.cycle_started_at.FromDatetime(CYCLE)
    identity = Peer(sending._target, "sending", Stamper("identity", key))
    async with identity:
        answer = await identity.call(
            EmailUsageServiceStub(identity.channel).CountEmails,
            request,
            RequestContext.of_process("identity", tenant.context.organization),
        )
    assert answer.emails == 1


async def test_the_platforms_own_mail_counts_nowhere_and_is_one_however_often_it_is_ordered(
    database: Database,
) -> None:
    mail, order = AccountMail(database, from_email="accounts@house.test", from_name="House"), uuid4()
    await asyncio.gather(*(mail.send(order, **ACCOUNT_MAIL) for _ in range(8)))
    context = RequestContext.of_process("sending", PLATFORM)
    async with database.tenant_transaction(context) as session:
        assert await usage.counted(session, CYCLE) == 0
        made = await session.execute(text("SELECT count(*) FROM messages WHERE id = :id"), {"id": order})
        assert made.scalar() == 1
