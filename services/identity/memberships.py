"""Who belongs to an organization, and as what."""

from uuid import UUID

from sqlalchemy import insert

from chassis.context import Role
from chassis.database import TenantSession
from services.identity.tables import memberships


async def add(session: TenantSession, user_id: UUID, role: Role) -> None:
    """Make a person a member of the context's organization."""
    await session.execute(insert(memberships).values(user_id=user_id, role=role.name))
