"""Where the syncs of a connection have arrived, and when the next one is due.

None is due while one is under way, nor while the CRM takes no credentials, unless somebody asks for one: then it is due at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, func, literal_column, select, update
from sqlalchemy.dialects.postgresql import insert

from chassis.database import TenantSession
from services.integrations.tables import connections, sync_positions

# What a CRM has just changed its search may not find at once, and more of it may follow. No post has an account synced sooner.
NUDGED_AFTER = timedelta(seconds=30)

# As PostgreSQL writes the end of all time, which no value of Python's is.
_NEVER: ColumnElement[Any] = literal_column("'infinity'")


@dataclass(frozen=True, slots=True)
class Position:
    """Of one connection."""

    # Where the CRM's changes go on; None from the beginning.
    cursor: str | None = None
    # The last contact that the first sync has told of.
    contacts_until: UUID | None = None
    told_all_contacts: bool = False


async def begin(session: TenantSession, connection_id: UUID) -> None:
    """Have a connection synced from the beginning, now; one that has begun is as it was, and due now."""
    statement = insert(sync_positions).values(
        connection_id=connection_id, told_all_contacts=False, due_at=func.now()
    )
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=["organization_id", "connection_id"], set_={"due_at": func.now()}
        )
    )


async def take_due(session: TenantSession, connection_id: UUID) -> bool:
    """Take what is due, to begin a sync: none is due until that ends. False where none is, or somebody else has taken it."""
    taken = await session.execute(
        update(sync_positions)
        .where(sync_positions.c.connection_id == connection_id, sync_positions.c.due_at <= func.now())
        .values(due_at=_NEVER)
    )
    return bool(taken.rowcount)


async def wait_for_the_end(session: TenantSession, connection_id: UUID) -> None:
    """A sync has begun that nobody had waited for: none is due until it ends."""
    await session.execute(
        update(sync_positions).where(sync_positions.c.connection_id == connection_id).values(due_at=_NEVER)
    )


async def come_again(session: TenantSession, connection_id: UUID, pause: timedelta) -> None:
    """A sync has ended, and the next is due after so long; sooner where somebody has asked for it meanwhile."""
    await session.execute(
        update(sync_positions)
        .where(sync_positions.c.connection_id == connection_id)
        .values(due_at=func.least(sync_positions.c.due_at, func.now() + pause))
    )


async def put_off(session: TenantSession, connection_id: UUID, pause: timedelta) -> None:
    """What is due may not begin for so long."""
    await session.execute(
        update(sync_positions)
        .where(sync_positions.c.connection_id == connection_id, sync_positions.c.due_at <= func.now())
        .values(due_at=func.now() + pause)
    )


async def nudge(session: TenantSession, connection_ids: Sequence[UUID]) -> None:
    """Something has changed in these accounts: they are due soon, unless they are sooner, or something is wrong about them."""
    well = select(connections.c.id).where(
        connections.c.id.in_(connection_ids), connections.c.status == "active", connections.c.last_error == ""
    )
    await session.execute(
        update(sync_positions)
        .where(sync_positions.c.connection_id.in_(well))
        .values(due_at=func.least(sync_positions.c.due_at, func.now() + NUDGED_AFTER))
    )


async def position_of(session: TenantSession, connection_id: UUID) -> Position:
    """Where its syncs have arrived."""
    found = await session.execute(
        select(
            sync_positions.c.cursor, sync_positions.c.contacts_until, sync_positions.c.told_all_contacts
        ).where(sync_positions.c.connection_id == connection_id)
    )
    row = found.one_or_none()
    return Position() if row is None else Position(*row)


async def move(session: TenantSession, connection_id: UUID, **reached: Any) -> None:
    """Note where they have arrived."""
    await session.execute(
        update(sync_positions).where(sync_positions.c.connection_id == connection_id).values(**reached)
    )
