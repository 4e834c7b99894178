"""Plans that change: a larger one at once, a smaller one with the next cycle, by a clock that is moved."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from redis.asyncio import Redis

from chassis.context import RequestContext
from chassis.database import Database
from chassis.errors import InvalidRequest, Unavailable
from chassis.rpc.server import RpcServer
from chassis.stamp import StampVerifier
from flownurture.contacts.v1 import usage_pb2 as contact_usage
from flownurture.identity.v1 import admin_pb2, admission_pb2, audit_pb2, plans_pb2
from flownurture.identity.v1.organization_pb2 import PLAN_ENTERPRISE, PLAN_FREE, PLAN_PRO, PLAN_STARTER
from flownurture.integrations.v1 import usage_pb2 as ai_usage
from flownurture.sending.v1 import usage_pb2 as email_usage
from flownurture.webhooks.v1 import usage_pb2 as webhook_usage
from services.identity.plans import Plan, entitlements
from services.identity.settings import IdentitySettings
from services.identity.subscriptions import Settlement
from services.identity.tests.conftest import Start
from services.identity.tests.edge import PASSWORD, Edge, Person

CONTACTS, EMAILS, ENDPOINTS, TOKENS = 1_234, 56, 1, 0


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


class Contacts:
    """Counts contacts as the contacts process does."""

    service = contact_usage.DESCRIPTOR.services_by_name["ContactUsageService"]

    async def count_contacts(
        self, request: contact_usage.CountContactsRequest, context: RequestContext
    ) -> contact_usage.CountContactsResponse:
        return contact_usage.CountContactsResponse(contacts=CONTACTS)


class Sending:
    """Counts e-mails as the sending process does."""

    service = email_usage.DESCRIPTOR.services_by_name["EmailUsageService"]

    async def count_emails(
        self, request: email_usage.CountEmailsRequest, context: RequestContext
    ) -> email_usage.CountEmailsResponse:
        return email_usage.CountEmailsResponse(emails=EMAILS)


class Webhooks:
    """Counts endpoints as the webhooks process does."""

    service = webhook_usage.DESCRIPTOR.services_by_name["WebhookUsageService"]

    async def count_endpoints(
        self, request: webhook_usage.CountEndpointsRequest, context: RequestContext
    ) -> webhook_usage.CountEndpointsResponse:
        return webhook_usage.CountEndpointsResponse(endpoints=ENDPOINTS)


class Integrations:
    """Counts tokens as the integrations process does."""

    service = ai_usage.DESCRIPTOR.services_by_name["AiUsageService"]

    async def count_tokens(
        self, request: ai_usage.CountTokensRequest, context: RequestContext
    ) -> ai_usage.CountTokensResponse:
        return ai_usage.CountTokensResponse(tokens=TOKENS)


@pytest.fixture(scope="module")
def the_clock() -> Clock:
    return Clock()


@pytest.fixture
def clock(the_clock: Clock) -> Iterator[Clock]:
    """A clock to move; it is right again after the test."""
    yield the_clock
    the_clock.ahead = timedelta()


@pytest.fixture(scope="module")
async def edge(start: Start, settings: IdentitySettings, the_clock: Clock) -> AsyncIterator[Edge]:
    """Identity with that clock, and with neighbours that count."""
    async with AsyncExitStack() as stack:
        targets = {}
        for name, servicer in (
            ("contacts", Contacts()),
            ("sending", Sending()),
            ("webhooks", Webhooks()),
            ("integrations", Integrations()),
        ):
            verifier = StampVerifier(name, settings.stamp_trusted_keys)
            server = RpcServer(name, "127.0.0.1:0", verifier).add(servicer)
            await stack.enter_async_context(server)
            targets[f"{name}_target"] = f"127.0.0.1:{server.port}"
        yield await start(settings.model_copy(update=targets), the_clock)


@pytest.fixture
async def owner(edge: Edge) -> Person:
    return await edge.sign_up()


async def choose(edge: Edge, owner: Person, plan: int) -> plans_pb2.Subscription:
    request = plans_pb2.UpdateSubscriptionRequest(plan=plan)  # type: ignore[arg-type]  # a value of the enum
    answer: plans_pb2.Subscription = await edge.call(edge.plans.UpdateSubscription, request, owner.context)
    return answer


async def subscription(edge: Edge, owner: Person) -> plans_pb2.Subscription:
    answer: plans_pb2.Subscription = await edge.call(
        edge.plans.GetSubscription, plans_pb2.GetSubscriptionRequest(), owner.context
    )
    return answer


async def explain(edge: Edge, owner: Person, **about: str) -> plans_pb2.Entitlement:
    answer: plans_pb2.Entitlement = await edge.call(
        edge.plans.ExplainEntitlement, plans_pb2.ExplainEntitlementRequest(**about), owner.context
    )
    return answer


async def granted(edge: Edge, owner: Person) -> admission_pb2.Grant:
    return await edge.resolve_session(owner.session_id)


async def acts(edge: Edge, owner: Person) -> list[str]:
    page = await edge.call(edge.audit.ListAuditEvents, audit_pb2.ListAuditEventsRequest(), owner.context)
    return [event.act for event in page.audit_events]


async def test_a_larger_plan_holds_at_once(edge: Edge, owner: Person, redis: Redis) -> None:
    assert not (await granted(edge, owner)).features
    chosen = await choose(edge, owner, PLAN_PRO)
    assert chosen.plan == PLAN_PRO
    assert not chosen.HasField("next_plan_at")
    # What a gateway had cached is gone before the answer.
    assert not await redis.exists(f"grant:session:{owner.session_id}")
    grant = await granted(edge, owner)
    assert set(grant.features) == entitlements(Plan.PRO).features
    assert dict(grant.limits) == entitlements(Plan.PRO).limits
    assert (await acts(edge, owner))[0] == "plan_changed"


async def test_a_smaller_plan_begins_with_the_next_cycle_and_features_stay_until_then(
    edge: Edge, owner: Person, clock: Clock
) -> None:
    await choose(edge, owner, PLAN_PRO)
    chosen = await choose(edge, owner, PLAN_FREE)
    assert (chosen.plan, chosen.next_plan) == (PLAN_PRO, PLAN_FREE)
    assert chosen.next_plan_at == chosen.cycle_ends_at
    ends_in = chosen.cycle_ends_at.ToDatetime(UTC) - datetime.now(UTC)

    clock.ahead = ends_in - timedelta(seconds=2)
    assert set((await granted(edge, owner)).features) == entitlements(Plan.PRO).features
    clock.ahead = ends_in + timedelta(seconds=1)
    assert not (await granted(edge, owner)).features
    then = await subscription(edge, owner)
    assert (then.plan, then.HasField("next_plan_at")) == (PLAN_FREE, False)
    assert then.cycle_started_at == chosen.cycle_ends_at


async def test_what_is_cached_does_not_outlive_the_plan(
    edge: Edge, owner: Person, clock: Clock, redis: Redis
) -> None:
    await choose(edge, owner, PLAN_PRO)
    ends_at = (await choose(edge, owner, PLAN_FREE)).cycle_ends_at.ToDatetime(UTC)
    await redis.delete(f"hold:organization:{owner.answer.organization.id}")
    clock.ahead = ends_at - datetime.now(UTC) - timedelta(seconds=20)
    await granted(edge, owner)
    assert 0 < await redis.pttl(f"grant:session:{owner.session_id}") <= 20_000


async def test_a_planned_change_can_be_taken_back(edge: Edge, owner: Person, clock: Clock) -> None:
    await choose(edge, owner, PLAN_PRO)
    await choose(edge, owner, PLAN_STARTER)
    kept = await choose(edge, owner, PLAN_PRO)
    assert (kept.plan, kept.HasField("next_plan_at")) == (PLAN_PRO, False)
    clock.ahead = timedelta(days=40)
    assert (await subscription(edge, owner)).plan == PLAN_PRO
    assert (await acts(edge, owner))[:3] == ["plan_change_taken_back", "plan_change_planned", "plan_changed"]


async def test_what_is_over_the_next_plans_limits_is_shown(edge: Edge, owner: Person) -> None:
    await choose(edge, owner, PLAN_PRO)
    chosen = await choose(edge, owner, PLAN_FREE)
    (over,) = chosen.over_limits
    assert (over.limit, over.used, over.allowed) == ("contacts", CONTACTS, entitlements(Plan.FREE).contacts)
    assert (await subscription(edge, owner)).over_limits == chosen.over_limits


async def test_a_change_that_came_due_is_settled_in_the_trail(
    edge: Edge, owner: Person, clock: Clock, database: Database
) -> None:
    await choose(edge, owner, PLAN_PRO)
    await choose(edge, owner, PLAN_FREE)
    organization = UUID(owner.answer.organization.id)
    settlement = Settlement(database, clock)
    context = RequestContext.of_process("identity", organization)
    await settlement.settle(context, organization)
    assert (await acts(edge, owner))[0] == "plan_change_planned"
    clock.ahead = timedelta(days=40)
    for _ in range(2):
        await settlement.settle(context, organization)
    assert (await acts(edge, owner))[:2] == ["plan_changed", "plan_change_planned"]
    assert (await subscription(edge, owner)).plan == PLAN_FREE


async def test_an_operator_sets_a_plan_at_once_in_either_direction(
    edge: Edge, owner: Person, settings: IdentitySettings
) -> None:
    assert settings.super_admin_email is not None
    operator = await edge.log_in(settings.super_admin_email, PASSWORD)
    for plan in (PLAN_ENTERPRISE, PLAN_STARTER):
        request = admin_pb2.ChangeOrganizationRequest(organization_id=owner.answer.organization.id, plan=plan)
        changed = await edge.call(edge.admin.ChangeOrganization, request, operator.context)
        assert changed.plan == plan
        assert (await subscription(edge, owner)).plan == plan


async def test_usage_tells_what_is_used_of_what_is_allowed(edge: Edge, owner: Person) -> None:
    usage = await edge.call(edge.plans.GetUsage, plans_pb2.GetUsageRequest(), owner.context)
    allowed = entitlements(Plan.FREE).limits
    assert {each.limit: (each.used, each.allowed) for each in usage.limits} == {
        "contacts": (CONTACTS, allowed["contacts"]),
        "emails_per_cycle": (EMAILS, allowed["emails_per_cycle"]),
        "members": (1, allowed["members"]),
        "webhook_endpoints": (ENDPOINTS, allowed["webhook_endpoints"]),
        "ai_tokens_per_cycle": (TOKENS, allowed["ai_tokens_per_cycle"]),
    }


async def test_without_who_counts_usage_is_unavailable_and_no_plan_is_lowered(
    start: Start, settings: IdentitySettings
) -> None:
    alone = await start(settings)
    owner = await alone.sign_up()
    with pytest.raises(Unavailable):
        await alone.call(alone.plans.GetUsage, plans_pb2.GetUsageRequest(), owner.context)
    await choose(alone, owner, PLAN_PRO)
    with pytest.raises(Unavailable):
        await choose(alone, owner, PLAN_FREE)
    assert (await subscription(alone, owner)).next_plan == 0


async def test_an_explanation_says_why_not_and_which_plans_would(edge: Edge, owner: Person) -> None:
    why = await explain(edge, owner, feature="ai_writing")
    assert not why.allowed
    assert list(why.plans) == [PLAN_PRO, PLAN_ENTERPRISE]
    assert why.rule == "ai_writing belongs to the plans pro, enterprise; the organization is on free."
    await choose(edge, owner, PLAN_PRO)
    assert (await explain(edge, owner, feature="ai_writing")).allowed
    planned = await choose(edge, owner, PLAN_FREE)
    until = await explain(edge, owner, feature="ai_writing")
    assert until.allowed
    assert until.changes_at == planned.cycle_ends_at
    assert until.then == "The plan becomes free."


async def test_an_explanation_of_a_limit_says_what_is_used(edge: Edge, owner: Person) -> None:
    contacts = await explain(edge, owner, limit="contacts")
    assert (contacts.allowed, contacts.used, contacts.limit) == (False, CONTACTS, 1_000)
    assert not contacts.HasField("changes_at")
    emails = await explain(edge, owner, limit="emails_per_cycle")
    assert (emails.allowed, emails.used) == (True, EMAILS)
    assert emails.HasField("changes_at")


@pytest.mark.parametrize(
    ("asked", "fields"),
    [
        ({}, ["feature", "limit"]),
        ({"feature": "ai_writing", "limit": "contacts"}, ["feature", "limit"]),
        ({"feature": "flying"}, ["feature"]),
        ({"limit": "patience"}, ["limit"]),
    ],
)
async def test_a_question_about_nothing_is_refused_by_field(
    edge: Edge, owner: Person, asked: dict[str, str], fields: list[str]
) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        await explain(edge, owner, **asked)
    assert [violation.field for violation in refusal.value.violations] == fields


async def test_the_plans_are_told_to_anybody_the_smallest_first(edge: Edge) -> None:
    answer = await edge.call(edge.plans.ListPlans, plans_pb2.ListPlansRequest())
    assert [plan.plan for plan in answer.plans] == [PLAN_FREE, PLAN_STARTER, PLAN_PRO, PLAN_ENTERPRISE]
    assert answer.plans[2].limits["requests_per_minute"] == entitlements(Plan.PRO).requests_per_minute


async def test_a_context_may_not_change_the_plan_of_another_organization(edge: Edge, owner: Person) -> None:
    other = await edge.sign_up()
    await choose(edge, replace(owner, context=other.context), PLAN_PRO)
    assert (await subscription(edge, owner)).plan == PLAN_FREE
