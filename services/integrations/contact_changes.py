"""Which contacts have changed: one row each, whatever its number of changes, for a sync to begin from.

An event's id tells its age (UUIDv7), so events that arrive out of order leave the newest in place.
"""

from collections.abc import Collection
from enum import StrEnum
from uuid import UUID

from sqlalchemy import literal, select
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.sql import column, func

from chassis.database import TenantSession
from services.integrations.tables import contact_changes


class ChangeKind(StrEnum):
    """What a sync has to do about a contact."""

    UPSERTED = "upserted"
    DELETED = "deleted"


async def note(
    session: TenantSession, contact_ids: Collection[UUID], kind: ChangeKind, event_id: UUID
) -> None:
    """Note that these contacts changed, unless something newer is known of them."""
    id_type = contact_changes.c.contact_id.type
    changed = (
        func.unnest(literal(sorted(contact_ids), ARRAY(id_type)))
        .table_valued(column("contact_id", id_type), name="changed")
        .render_derived()
    )
    statement = insert(contact_changes).from_select(
        ["contact_id", "kind", "event_id"],
        select(changed.c.contact_id, literal(kind.value), literal(event_id)),
    )
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=["organization_id", "contact_id"],
            set_={"kind": statement.excluded.kind, "event_id": statement.excluded.event_id},
            where=contact_changes.c.event_id < statement.excluded.event_id,
        )
    )
