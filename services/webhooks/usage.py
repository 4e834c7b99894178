"""How many endpoints an organization has, and its plan's limit of them."""

from sqlalchemy import func, select, text

from chassis.database import TenantSession
from chassis.errors import PermissionDenied
from services.webhooks.tables import endpoints

LIMIT = "webhook_endpoints"

_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended('webhooks.endpoints:' || :organization, 0))")


class EndpointLimitReached(PermissionDenied):
    """The organization has as many endpoints as its plan allows."""

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"The plan allows {limit:,} webhook endpoints, and there are as many.",
            reason="PLAN_LIMIT_EXCEEDED",
        )


async def require_place(session: TenantSession) -> None:
    """Require that there may be one more; nobody else adds any until the transaction ends. Raises EndpointLimitReached, Unavailable."""
    limit = session.context.limit(LIMIT)
    await session.execute(_LOCK, {"organization": str(session.context.organization)})
    if await held(session) >= limit:
        raise EndpointLimitReached(limit)


async def held(session: TenantSession) -> int:
    """How many endpoints there are."""
    return int(await session.scalar(select(func.count()).select_from(endpoints)))
