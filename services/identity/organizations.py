"""Organizations: the tenants of the platform."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, func, insert, select, update

from chassis.context import PLATFORM
from chassis.database import TenantSession
from chassis.errors import NotFound
from flownurture.identity.v1 import events_pb2 as events
from services.identity import audit, subscriptions
from services.identity.audit import Act
from services.identity.grants import Grants
from services.identity.plans import Plan
from services.identity.revocation import take_back_from_organization
from services.identity.subscriptions import Subscription
from services.identity.tables import organizations

COLUMNS = (
    organizations.c.organization_id,
    organizations.c.name.label("organization_name"),
    *subscriptions.COLUMNS,
    organizations.c.suspended_at,
    organizations.c.created_at.label("organization_created_at"),
)


@dataclass(frozen=True, slots=True)
class Organization:
    """One tenant."""

    id: UUID
    name: str
    subscription: Subscription
    suspended: bool
    created_at: datetime

    @classmethod
    def of(cls, row: Row[Any]) -> "Organization":
        """From a row that holds COLUMNS."""
        return cls(
            row.organization_id,
            row.organization_name,
            Subscription.of(row),
            row.suspended_at is not None,
            row.organization_created_at,
        )

    @property
    def is_platform(self) -> bool:
        """Whether this is the operators' own, and so no organization in the eyes of a client."""
        return self.id == PLATFORM


async def create(session: TenantSession, name: str, *, now: datetime) -> Organization:
    """Make the context's organization, new and empty, on the free plan; its billing cycles start now."""
    made = insert(organizations).values(name=name, plan=Plan.FREE, cycle_anchor=now)
    statement = made.returning(*COLUMNS)
    organization = Organization.of((await session.execute(statement)).one())
    session.publish(events.OrganizationCreated(name=name))
    return organization


async def get(session: TenantSession) -> Organization:
    """The context's organization. Raises NotFound."""
    row = (await session.execute(select(*COLUMNS))).one_or_none()
    if row is None:
        raise NotFound("organization")
    return Organization.of(row)


async def rename(session: TenantSession, name: str) -> Organization:
    """Give the context's organization another name."""
    before = await hold(session)
    statement = update(organizations).values(name=name).returning(*COLUMNS)
    renamed = Organization.of((await session.execute(statement)).one())
    await audit.record(
        session, Act.ORGANIZATION_RENAMED, renamed.id, before={"name": before.name}, after={"name": name}
    )
    return renamed


async def set_suspended(session: TenantSession, suspended: bool, grants: Grants) -> None:
    """Suspend or resume the context's organization; when the transaction has committed, that holds everywhere.

    Raises NotFound, or Unavailable, and so rolls back, when the gateways cannot be told.
    """
    before = await hold(session)
    if before.suspended == suspended:
        return
    await session.execute(update(organizations).values(suspended_at=func.now() if suspended else None))
    await take_back_from_organization(session, grants)
    await audit.record(
        session,
        Act.ORGANIZATION_SUSPENDED if suspended else Act.ORGANIZATION_RESUMED,
        before.id,
        before={"suspended": before.suspended},
        after={"suspended": suspended},
    )


async def hold(session: TenantSession) -> Organization:
    """The context's organization, changed by nobody else until the transaction ends; NotFound if there is none."""
    row = (await session.execute(select(*COLUMNS).with_for_update(key_share=True))).one_or_none()
    if row is None:
        raise NotFound("organization")
    return Organization.of(row)
