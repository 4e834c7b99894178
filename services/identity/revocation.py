"""Taking back what several credentials may do, before the change that asks for it commits.

The hold comes first and the credentials are read after it: whatever was cached before the hold belongs to one that can
be read now, and after the hold nothing is cached.
"""

from uuid import UUID

from sqlalchemy import select

from chassis.database import TenantSession
from services.identity.grants import Grants
from services.identity.tables import api_keys, sessions


async def take_back_from_member(session: TenantSession, user_id: UUID, grants: Grants) -> None:
    """What a member's sessions may do in the context's organization. Raises Unavailable, and so rolls back."""
    await grants.hold_member(session.context.organization, user_id)
    theirs = await session.execute(select(sessions.c.id).where(sessions.c.user_id == user_id))
    await grants.drop(sessions=theirs.scalars())


async def take_back_from_organization(session: TenantSession, grants: Grants) -> None:
    """What every session and key of the context's organization may do. Raises Unavailable, and so rolls back."""
    await grants.hold_organization(session.context.organization)
    all_sessions = await session.execute(select(sessions.c.id))
    all_keys = await session.execute(select(api_keys.c.id))
    await grants.drop(sessions=all_sessions.scalars(), api_keys=all_keys.scalars())
