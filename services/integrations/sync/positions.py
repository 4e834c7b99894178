"""Where the syncs of a connection have arrived, and when the next one is due."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert

from chassis.database import TenantSession
from services.integrations.tables import sync_positions


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
