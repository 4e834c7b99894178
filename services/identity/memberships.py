"""Who belongs to an organization, and as what."""

from uuid import UUID

from sqlalchemy import func, insert, select

from chassis.context import Role
from chassis.database import TenantSession
from services.identity.tables import invitations, memberships


async def add(session: TenantSession, user_id: UUID, role: Role) -> None:
    """Make a person a member of the context's organization."""
    await session.execute(insert(memberships).values(user_id=user_id, role=role.name))


async def seats_taken(session: TenantSession) -> int:
    """How many the plan's limit of members counts: those there are, and those who are invited."""
    members = select(func.count()).select_from(memberships).scalar_subquery()
    invited = (
        select(func.count())
        .select_from(invitations)
        .where(invitations.c.expires_at > func.now())
        .scalar_subquery()
    )
    return int(await session.scalar(select(members + invited)))
