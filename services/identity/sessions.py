"""Sessions of people: begun by sign-up or log-in, ended by log-out, expiry or a stolen refresh token."""

from uuid import UUID

from sqlalchemy import delete, func, insert, literal, select

from chassis.context import PLATFORM, RequestContext
from chassis.database import TenantSession
from chassis.errors import Unauthenticated
from services.identity.grants import Grants
from services.identity.refresh_tokens import RefreshToken, store
from services.identity.revocation import take_back_from_member
from services.identity.session_lifetimes import LIFETIME, is_live_session
from services.identity.tables import memberships, sessions


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
    """Begin the session that the context names; what is left of the user's expired ones goes.

    Raises Unauthenticated when the membership has ended meanwhile.
    """
    user_id, session_id = UUID(session.context.actor_id), UUID(session.context.session_id)
    await session.execute(delete(sessions).where(sessions.c.user_id == user_id, ~is_live_session()))
    # As the member that the context says, who stays one until the transaction ends.
    still_is = memberships.c.user_id == user_id
    begun = await session.scalar(
        insert(sessions)
        .from_select(
            ["id", "user_id", "expires_at", "client_address", "user_agent"],
            select(
                literal(session_id),
                memberships.c.user_id,
                func.now() + LIFETIME,
                literal(session.context.client_address),
                literal(session.context.user_agent),
            )
            .where(still_is)
            .with_for_update(key_share=True, read=True),
        )
        .returning(sessions.c.id)
    )
    if begun is None:
        raise Unauthenticated
    token = RefreshToken.mint()
    await store(session, session_id, token)
    return token


async def end(session: TenantSession, session_id: UUID, grants: Grants) -> bool:
    """End a session; whether it was there. When the transaction has committed, no request of it passes anywhere.

    Raises Unavailable, and so rolls back, when the gateways cannot be told.
    """
    ended = await session.execute(delete(sessions).where(sessions.c.id == session_id))
    await grants.hold_session(session_id)
    return ended.rowcount == 1


async def end_all(session: TenantSession, user_id: UUID, grants: Grants, *, but: UUID | None = None) -> None:
    """End a member's sessions in the context's organization, all or all but one; Unavailable as `end` raises it."""
    await take_back_from_member(session, user_id, grants)
    await session.execute(
        delete(sessions).where(sessions.c.user_id == user_id, sessions.c.id.is_distinct_from(but))
    )
