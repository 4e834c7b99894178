"""Contacts that have changed since a connection was told of them: one row each, whatever its number of changes."""

from collections.abc import Collection, Mapping
from uuid import UUID

from sqlalchemy import any_, delete, literal, select
from sqlalchemy.dialects.postgresql import ARRAY

from chassis.database import TenantSession
from services.integrations.tables import outgoing_changes

# For a connection that is about to tell of all contacts, too: it may have read this one before it changed.
_NOTE = """
    INSERT INTO outgoing_changes (connection_id, contact_id, event_id)
    SELECT position.connection_id, changed.contact_id, %s
    FROM sync_positions AS position, unnest(%s::uuid[]) AS changed (contact_id)
    WHERE position.connection_id IS DISTINCT FROM %s
    ON CONFLICT (organization_id, connection_id, contact_id) DO UPDATE SET event_id = excluded.event_id
"""
_AGAIN = """
    INSERT INTO outgoing_changes (connection_id, contact_id, event_id)
    SELECT %s, again.contact_id, uuidv7() FROM unnest(%s::uuid[]) AS again (contact_id)
    ON CONFLICT DO NOTHING
"""

# Each by itself in the index, as links are found; held, so that what changes again meanwhile is not what is dropped.
_DROP = """
    DELETE FROM outgoing_changes WHERE ctid = ANY(ARRAY(
        SELECT held.place FROM unnest(%s::uuid[], %s::uuid[]) AS told (contact_id, event_id), LATERAL (
            SELECT ctid AS place FROM outgoing_changes AS held
            WHERE held.connection_id = %s AND held.contact_id = told.contact_id AND held.event_id = told.event_id
            LIMIT 1 FOR UPDATE
        ) AS held
    ))
"""


async def note(
    session: TenantSession, contact_ids: Collection[UUID], event_id: UUID, *, told_by: UUID | None = None
) -> None:
    """Every connection of the organization is to be told of these, but for the one that told us.

    That has written them in a step, and has agreed with its CRM upon just these values once the step is committed; until then the step
    is done again.
    """
    await session.driver.execute(_NOTE, (event_id, sorted(contact_ids), told_by))


async def note_again(session: TenantSession, connection_id: UUID, contact_ids: Collection[UUID]) -> None:
    """A connection could not be told of these for now."""
    if contact_ids:
        await session.driver.execute(_AGAIN, (connection_id, sorted(contact_ids)))


async def newest(session: TenantSession, connection_id: UUID) -> UUID | None:
    """The last change that a connection is to be told of."""
    last: UUID | None = await session.scalar(
        select(outgoing_changes.c.event_id)
        .where(outgoing_changes.c.connection_id == connection_id)
        .order_by(outgoing_changes.c.event_id.desc())
        .limit(1)
    )
    return last


async def some(session: TenantSession, connection_id: UUID, *, until: UUID, most: int) -> dict[UUID, UUID]:
    """Up to so many that a connection is to be told of, those that wait longest first, each with its last change."""
    found = await session.execute(
        select(outgoing_changes.c.contact_id, outgoing_changes.c.event_id)
        .where(outgoing_changes.c.connection_id == connection_id, outgoing_changes.c.event_id <= until)
        .order_by(outgoing_changes.c.event_id, outgoing_changes.c.contact_id)
        .limit(most)
    )
    return {row.contact_id: row.event_id for row in found}


async def drop(session: TenantSession, connection_id: UUID, told: Mapping[UUID, UUID]) -> None:
    """It has been told of these changes; of what changed again meanwhile it is told again."""
    await session.driver.execute(_DROP, (list(told), list(told.values()), connection_id))


async def forget(session: TenantSession, contact_ids: Collection[UUID]) -> None:
    """Contacts were erased: nobody is told of them."""
    among = outgoing_changes.c.contact_id == any_(
        literal(list(contact_ids), ARRAY(outgoing_changes.c.contact_id.type))
    )
    await session.execute(delete(outgoing_changes).where(among))
