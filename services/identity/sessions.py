"""Sessions of people: begun by sign-up or log-in, ended by log-out, expiry or a stolen refresh token."""

from datetime import timedelta
from uuid import UUID

from sqlalchemy import delete, func, insert

from chassis.context import PLATFORM, RequestContext
from chassis.database import TenantSession
from services.identity.grants import Grants
from services.identity.refresh_tokens import RefreshToken, store
from services.identity.tables import sessions

LIFETIME = timedelta(days=30)


def home(context: RequestContext) -> RequestContext:
    """The context within the organization that holds the actor's session: an operator's is the platform's own."""
    return context.for_session(
        user_id=UUID(context.actor_id),
        session_id=UUID(context.session_id),
        organization_id=context.organization_id or PLATFORM,
        role=context.role,
    )


def within(context: RequestContext, organization_id: UUID) -> RequestContext:
    """The context of an operator's act upon an organization, which an operator's request may name."""
    return context.for_session(
        user_id=UUID(context.actor_id),
        session_id=UUID(context.session_id),
        organization_id=organization_id,
        role=context.role,
    )


async def begin(session: TenantSession) -> RefreshToken:
    """Begin the session that the context names; what is left of the user's expired ones goes."""
    user_id, session_id = UUID(session.context.actor_id), UUID(session.context.session_id)
    await session.execute(
        delete(sessions).where(sessions.c.user_id == user_id, sessions.c.expires_at <= func.now())
    )
    await session.execute(
        insert(sessions).values(
            id=session_id,
            user_id=user_id,
            expires_at=func.now() + LIFETIME,
            client_address=session.context.client_address,
            user_agent=session.context.user_agent,
        )
    )
    token = RefreshToken.mint()
    await store(session, session_id, token)
    return token


async def end(session: TenantSession, session_id: UUID, grants: Grants) -> None:
    """End a session. When the transaction has committed, no request of it passes anywhere.

    Raises Unavailable, and so rolls back, when the gateways cannot be told.
    """
    await session.execute(delete(sessions).where(sessions.c.id == session_id))
    await grants.hold_session(session_id)
