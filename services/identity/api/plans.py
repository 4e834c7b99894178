"""`PlanService` and `EntitlementService`: what an organization may use, how much of it, and how much it has used."""

import asyncio

from chassis.context import RequestContext
from chassis.database import Database, TenantSession
from chassis.errors import FieldViolation, InvalidRequest
from flownurture.identity.v1 import plans_pb2 as pb
from services.identity import memberships, organizations, subscriptions
from services.identity.api.messages import plan_named, plan_value, refuse_cursor, timestamp
from services.identity.clock import Clock
from services.identity.entitlements import (
    Explanation,
    explain_feature,
    explain_limit,
    parse_feature,
    parse_limit,
)
from services.identity.grants import Grants
from services.identity.plans import BY_CYCLE, LIMITS, Plan, entitlements
from services.identity.subscriptions import Standing
from services.identity.usage_peers import UsagePeers


class PlanService:
    """Plans, subscriptions and usage. What others count is asked outside of any transaction."""

    service = pb.DESCRIPTOR.services_by_name["PlanService"]

    def __init__(self, database: Database, peers: UsagePeers, grants: Grants, clock: Clock) -> None:
        self._database = database
        self._peers = peers
        self._grants = grants
        self._clock = clock

    async def list_plans(self, request: pb.ListPlansRequest, context: RequestContext) -> pb.ListPlansResponse:
        """All plans, the smallest first: they fit one page."""
        refuse_cursor(request.page_token)
        return pb.ListPlansResponse(
            plans=[
                pb.PlanDescription(
                    plan=plan_value(plan),
                    features=sorted(entitlements(plan).features),
                    limits=entitlements(plan).limits
                    | {
                        "requests_per_minute": entitlements(plan).requests_per_minute,
                        "event_retention_days": entitlements(plan).event_retention_days,
                    },
                )
                for plan in Plan
            ]
        )

    async def get_usage(self, request: pb.GetUsageRequest, context: RequestContext) -> pb.Usage:
        """What is used of each limit. Unavailable when who counts it does not answer."""
        standing = await self._standing(context)
        used = await self._used(context, standing)
        return pb.Usage(
            plan=plan_value(standing.plan),
            cycle_started_at=timestamp(standing.cycle.started_at),
            cycle_ends_at=timestamp(standing.cycle.ends_at),
            limits=[
                pb.LimitUsage(limit=name, used=used[name], allowed=standing.entitlements.limits[name])
                for name in LIMITS
            ],
        )

    async def explain_entitlement(
        self, request: pb.ExplainEntitlementRequest, context: RequestContext
    ) -> pb.Entitlement:
        """Why, and until when. InvalidRequest unless exactly one thing that exists is asked about."""
        if bool(request.feature) == bool(request.limit):
            raise InvalidRequest(
                FieldViolation("feature", "give either this or limit"),
                FieldViolation("limit", "give either this or feature"),
            )
        if request.feature:
            feature = parse_feature(request.feature)
            return _entitlement_message(explain_feature(await self._standing(context), feature))
        limit = parse_limit(request.limit)
        standing = await self._standing(context)
        used = await self._used(context, standing)
        return _entitlement_message(explain_limit(standing, limit, used[limit]))

    async def get_subscription(
        self, request: pb.GetSubscriptionRequest, context: RequestContext
    ) -> pb.Subscription:
        """The plan, the cycle, and what a planned change would leave over."""
        standing = await self._standing(context)
        used = await self._used(context, standing) if standing.next_plan else {}
        return _subscription_message(standing, used)

    async def update_subscription(
        self, request: pb.UpdateSubscriptionRequest, context: RequestContext
    ) -> pb.Subscription:
        """Choose a plan; the answer shows what will be over its limits. Nothing of that is lost."""
        plan, present = plan_named(request.plan), await self._standing(context)
        # Asked before anything is changed: if who counts does not answer, nothing is.
        used = await self._used(context, present) if plan.rank < present.plan.rank else {}
        async with self._database.tenant_transaction(context) as session:
            standing = await subscriptions.choose(session, plan, now=self._clock(), grants=self._grants)
        return _subscription_message(standing, used)

    async def _standing(self, context: RequestContext) -> Standing:
        async with self._database.tenant_transaction(context, read_only=True) as session:
            return (await organizations.get(session)).subscription.at(self._clock())

    async def _used(self, context: RequestContext, standing: Standing) -> dict[str, int]:
        async with self._database.tenant_transaction(context, read_only=True) as session:
            members = await memberships.seats_taken(session)
        contacts, emails, webhook_endpoints, ai_tokens = await asyncio.gather(
            self._peers.contacts(context),
            self._peers.emails(context, standing.cycle.started_at),
            self._peers.webhook_endpoints(context),
            self._peers.ai_tokens(context, standing.cycle.started_at),
        )
        return {
            "contacts": contacts,
            "emails_per_cycle": emails,
            "members": members,
            "webhook_endpoints": webhook_endpoints,
            "ai_tokens_per_cycle": ai_tokens,
        }


class EntitlementService:
    """What services ask that act by themselves, without a request whose context says it."""

    service = pb.DESCRIPTOR.services_by_name["EntitlementService"]

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def get_entitlements(
        self, request: pb.GetEntitlementsRequest, context: RequestContext, session: TenantSession
    ) -> pb.GetEntitlementsResponse:
        """The features and limits of the context's organization at this moment."""
        organization = await organizations.get(session)
        standing = organization.subscription.at(self._clock())
        return pb.GetEntitlementsResponse(
            suspended=organization.suspended,
            features=sorted(standing.entitlements.features),
            limits=standing.entitlements.limits
            | {"event_retention_days": standing.entitlements.event_retention_days},
            cycle_started_at=timestamp(standing.cycle.started_at),
        )


def _subscription_message(standing: Standing, used: dict[str, int]) -> pb.Subscription:
    message = pb.Subscription(
        plan=plan_value(standing.plan),
        cycle_started_at=timestamp(standing.cycle.started_at),
        cycle_ends_at=timestamp(standing.cycle.ends_at),
    )
    if standing.next_plan is not None:
        allowed = entitlements(standing.next_plan).limits
        message.next_plan = plan_value(standing.next_plan)
        message.next_plan_at.FromDatetime(standing.cycle.ends_at)
        message.over_limits.extend(
            pb.LimitUsage(limit=name, used=count, allowed=allowed[name])
            for name, count in used.items()
            if name not in BY_CYCLE and count > allowed[name]
        )
    return message


def _entitlement_message(explanation: Explanation) -> pb.Entitlement:
    return pb.Entitlement(
        name=explanation.name,
        allowed=explanation.allowed,
        rule=explanation.rule,
        plan=plan_value(explanation.plan),
        used=explanation.used,
        limit=explanation.limit,
        plans=[plan_value(plan) for plan in explanation.plans],
        changes_at=timestamp(explanation.changes_at),
        then=explanation.then,
    )
