"""How many contacts an organization holds, counted as they come and go, and the plan's limit of them.

One row an organization. Whoever adds or takes away contacts changes the row first and holds it until the transaction ends,
so that two can never pass the limit together, and the count is never off.
"""

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert

from chassis.database import TenantSession
from chassis.errors import PermissionDenied
from services.contacts.tables import contacts, usage


class ContactLimitReached(PermissionDenied):
    """The organization holds as many contacts as its plan allows."""

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"The plan allows {limit:,} contacts, and there are as many.", reason="PLAN_LIMIT_EXCEEDED"
        )


async def hold(session: TenantSession) -> None:
    """Let nobody else add or take away contacts until the transaction ends."""
    await _count(session, 0)


async def free_place(session: TenantSession) -> None:
    """Count one contact less, which was deleted."""
    await _count(session, -1)


async def places_left(session: TenantSession, limit: int) -> int:
    """How many contacts can still be added; nobody else adds any until the transaction ends."""
    return max(0, limit - await _count(session, 0))


async def take_places(session: TenantSession, number: int) -> None:
    """Count contacts that were added, of the places that were left."""
    await _count(session, number)


async def held(session: TenantSession) -> int:
    """How many contacts there are."""
    counted = await session.scalar(select(usage.c.contacts))
    if counted is None:
        counted = await session.scalar(select(func.count()).select_from(contacts))
    return int(counted)


async def _count(session: TenantSession, change: int) -> int:
    """Move the count, and hold it; answers where it stands."""
    move = update(usage).values(contacts=usage.c.contacts + change).returning(usage.c.contacts)
    counted = await session.scalar(move)
    if counted is None:
        # The first time: count what is there. Of two at once the second waits here for the first.
        all_of_them = select(func.count()).select_from(contacts)
        await session.execute(insert(usage).from_select(["contacts"], all_of_them).on_conflict_do_nothing())
        counted = await session.scalar(move)
    return int(counted)
