"""In which lists a contact is, and which tags it has, with when and how it came to each."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import literal, select, union_all

from chassis.database import TenantSession
from services.contacts.tables import lists, memberships, taggings, tags


@dataclass(frozen=True, slots=True)
class Membership:
    """That a contact is in a list, or has a tag: `id` is that of the list or tag."""

    id: UUID
    is_tag: bool
    name: str
    added_at: datetime
    source: str


async def page_memberships(
    session: TenantSession, contact_id: UUID, *, before: UUID | None, size: int
) -> list[Membership]:
    """Up to `size` lists and tags of a contact, the latest created first, that are older than `before`."""
    in_lists = (
        select(
            lists.c.id,
            literal(False).label("is_tag"),
            lists.c.name,
            memberships.c.added_at,
            memberships.c.source,
        )
        .join(
            memberships,
            (memberships.c.organization_id == lists.c.organization_id)
            & (memberships.c.list_id == lists.c.id),
        )
        .where(memberships.c.contact_id == contact_id)
    )
    with_tags = (
        select(tags.c.id, literal(True), tags.c.name, taggings.c.added_at, taggings.c.source)
        .join(
            taggings,
            (taggings.c.organization_id == tags.c.organization_id) & (taggings.c.tag_id == tags.c.id),
        )
        .where(taggings.c.contact_id == contact_id)
    )
    both = union_all(in_lists, with_tags).subquery("both")
    wanted = select(both).order_by(both.c.id.desc()).limit(size)
    if before is not None:
        wanted = wanted.where(both.c.id < before)
    return [Membership(**row) for row in (await session.execute(wanted)).mappings()]
