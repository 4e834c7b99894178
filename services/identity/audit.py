"""The audit trail: what happened that matters to security, by whom. Append-only by grant."""

from enum import StrEnum
from uuid import UUID

from sqlalchemy import insert

from chassis.database import TenantSession
from chassis.identifiers import new_id
from services.identity.tables import audit_events


class Act(StrEnum):
    """What can be found in the trail."""

    SIGNED_UP = "signed_up"
    LOGGED_IN = "logged_in"
    LOGGED_OUT = "logged_out"
    REFRESH_REUSED = "refresh_reused"
    API_KEY_CREATED = "api_key_created"
    API_KEY_REVOKED = "api_key_revoked"
    OPERATOR_ADDED = "operator_added"


async def record(session: TenantSession, act: Act, target_id: UUID) -> None:
    """Write that the context's actor did this to the target, in the transaction in which it happens."""
    context = session.context
    await session.execute(
        insert(audit_events).values(
            id=new_id(),
            act=act,
            actor_kind=context.actor_kind.name,
            actor_id=context.actor_id,
            target_id=target_id,
            request_id=context.request_id,
        )
    )
