"""Subscriptions: which plan an organization is on, and from when it will be on another.

A larger plan holds at once, a smaller one from the next billing cycle on. Which plan holds follows from the row and the
time: nothing has to run for a planned change to take effect at its moment, and nobody can read the plan without a time.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, select, text, update

from chassis.context import RequestContext
from chassis.database import Database, TenantSession
from services.identity import audit
from services.identity.audit import Act
from services.identity.billing_cycles import Cycle, cycle_at
from services.identity.clock import Clock
from services.identity.grants import Grants
from services.identity.plans import Entitlements, Plan, entitlements
from services.identity.revocation import take_back_from_organization
from services.identity.tables import organizations

COLUMNS = (
    organizations.c.plan,
    organizations.c.cycle_anchor,
    organizations.c.next_plan,
    organizations.c.next_plan_at,
)

# For the scheduler's role: planned changes that hold already and are not written down as such.
CHANGES_TO_SETTLE = text("""
    SELECT organization_id, organization_id FROM identity.organizations WHERE next_plan_at <= now() LIMIT 256
""")


@dataclass(frozen=True, slots=True)
class Standing:
    """How a subscription stands at a moment."""

    plan: Plan
    cycle: Cycle
    next_plan: Plan | None

    @property
    def entitlements(self) -> Entitlements:
        """What may be used, and how much of it."""
        return entitlements(self.plan)


@dataclass(frozen=True, slots=True)
class Subscription:
    """What is written down about an organization's plan; ask it for a moment's."""

    _plan: Plan
    _anchor: datetime
    _next_plan: Plan | None
    _next_plan_at: datetime | None

    @classmethod
    def of(cls, row: Row[Any]) -> "Subscription":
        """From a row that holds COLUMNS."""
        return cls(
            Plan(row.plan), row.cycle_anchor, Plan(row.next_plan) if row.next_plan else None, row.next_plan_at
        )

    def at(self, moment: datetime) -> Standing:
        """The plan and the cycle of a moment."""
        cycle = cycle_at(self._anchor, moment)
        if self._next_plan is None or self._next_plan_at is None:
            return Standing(self._plan, cycle, None)
        if self._next_plan_at <= moment:
            return Standing(self._next_plan, cycle, None)
        return Standing(self._plan, cycle, self._next_plan)


async def choose(session: TenantSession, plan: Plan, *, now: datetime, grants: Grants) -> Standing:
    """Take another plan: a larger one at once, a smaller one with the next cycle; answers how it stands then.

    The present one takes a planned change back. Raises Unavailable, and so rolls back, when the gateways cannot be told.
    """
    standing = await _locked(session, now)
    if plan is standing.plan:
        if standing.next_plan is not None:
            await _write(session, Act.PLAN_CHANGE_TAKEN_BACK, standing, plan)
    elif plan.rank > standing.plan.rank:
        await take_back_from_organization(session, grants)
        await _write(session, Act.PLAN_CHANGED, standing, plan)
    else:
        await _write(session, Act.PLAN_CHANGE_PLANNED, standing, standing.plan, next_plan=plan)
        return replace(standing, next_plan=plan)
    return replace(standing, plan=plan, next_plan=None)


async def put_on(session: TenantSession, plan: Plan, *, now: datetime, grants: Grants) -> None:
    """Set the plan at once, whatever its size: an operator's decision. Raises Unavailable as `choose` does."""
    standing = await _locked(session, now)
    if plan is standing.plan and standing.next_plan is None:
        return
    await take_back_from_organization(session, grants)
    await _write(session, Act.PLAN_CHANGED, standing, plan)


class Settlement:
    """Writes down, and into the trail, the planned changes whose moment has come."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def settle(self, context: RequestContext, _: UUID) -> None:
        """Settle the change of the context's organization, if there is one and it holds."""
        async with self._database.tenant_transaction(context) as session:
            row = await _row(session)
            standing = Subscription.of(row).at(self._clock())
            if row.next_plan is not None and standing.next_plan is None:
                before = Standing(Plan(row.plan), standing.cycle, None)
                await _write(session, Act.PLAN_CHANGED, before, standing.plan)


async def _locked(session: TenantSession, now: datetime) -> Standing:
    return Subscription.of(await _row(session)).at(now)


async def _row(session: TenantSession) -> Row[Any]:
    """The organization's row, changed by nobody else until the transaction ends."""
    return (await session.execute(select(*COLUMNS).with_for_update(key_share=True))).one()


async def _write(
    session: TenantSession, act: Act, before: Standing, plan: Plan, *, next_plan: Plan | None = None
) -> None:
    await session.execute(
        update(organizations).values(
            plan=plan, next_plan=next_plan, next_plan_at=before.cycle.ends_at if next_plan else None
        )
    )
    await audit.record(
        session,
        act,
        session.context.organization,
        before=_facts(before.plan, before.next_plan),
        after=_facts(plan, next_plan),
    )


def _facts(plan: Plan, next_plan: Plan | None) -> audit.Facts:
    return {"plan": plan.value} | ({"next_plan": next_plan.value} if next_plan else {})
