"""Organizations: the tenants of the platform."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, insert, select, update

from chassis.database import TenantSession
from flownurture.identity.v1 import events_pb2 as events
from services.identity.plans import Plan
from services.identity.tables import organizations

# The platform's operators are the members of this one. It holds their sessions and their audit trail, under the
# same policies as everybody's; it owns nothing else, is not listed, and no stamp ever carries it.
PLATFORM = UUID("00000000-0000-7000-8000-000000000000")

COLUMNS = (
    organizations.c.organization_id,
    organizations.c.name.label("organization_name"),
    organizations.c.plan,
    organizations.c.suspended_at,
    organizations.c.created_at.label("organization_created_at"),
)


@dataclass(frozen=True, slots=True)
class Organization:
    """One tenant."""

    id: UUID
    name: str
    plan: Plan
    suspended: bool
    created_at: datetime

    @classmethod
    def of(cls, row: Row[Any]) -> "Organization":
        """From a row that holds COLUMNS."""
        return cls(
            row.organization_id,
            row.organization_name,
            Plan(row.plan),
            row.suspended_at is not None,
            row.organization_created_at,
        )

    @property
    def is_platform(self) -> bool:
        """Whether this is the operators' own, and so no organization in the eyes of a client."""
        return self.id == PLATFORM


async def create(session: TenantSession, name: str) -> Organization:
    """Make the context's organization, new and empty, on the free plan."""
    statement = insert(organizations).values(name=name, plan=Plan.FREE).returning(*COLUMNS)
    organization = Organization.of((await session.execute(statement)).one())
    session.publish(events.OrganizationCreated(name=name))
    return organization


async def get(session: TenantSession) -> Organization:
    """The context's organization."""
    return Organization.of((await session.execute(select(*COLUMNS))).one())


async def rename(session: TenantSession, name: str) -> Organization:
    """Give the context's organization another name."""
    statement = update(organizations).values(name=name).returning(*COLUMNS)
    return Organization.of((await session.execute(statement)).one())
