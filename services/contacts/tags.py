"""Words that contacts are marked with. A name is kept as it was first written; capitals do not tell two tags apart."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias
from uuid import UUID

from sqlalchemy import Select, delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError

from chassis.database import TenantSession
from chassis.errors import Conflict, NotFound
from chassis.identifiers import new_id
from services.contacts.announcements import announce_tag_removed
from services.contacts.events import Origin
from services.contacts.references import hold, require
from services.contacts.sets import among
from services.contacts.tables import taggings, tags


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag, with the number of contacts that have it at the time of reading."""

    id: UUID
    name: str
    created_at: datetime
    contact_count: int


class TagNameTaken(Conflict):
    """There is a tag of that name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"There is a tag with the name {name} already.")


async def create_tag(session: TenantSession, name: str) -> Tag:
    """Create a tag that nobody has. Raises TagNameTaken."""
    created = await session.execute(
        insert(tags)
        .values(id=new_id(), name=name, folded_name=_folded(name))
        .on_conflict_do_nothing()
        .returning(tags.c.id, tags.c.name, tags.c.created_at)
    )
    row = created.mappings().one_or_none()
    if row is None:
        raise TagNameTaken(name)
    return Tag(**row, contact_count=0)


async def get_tag(session: TenantSession, tag_id: UUID) -> Tag:
    """The tag. Raises NotFound."""
    row = (await session.execute(_select_tags().where(tags.c.id == tag_id))).mappings().one_or_none()
    if row is None:
        raise NotFound(f"tag as {tag_id}")
    return Tag(**row)


async def page_tags(session: TenantSession, *, before: UUID | None, size: int) -> list[Tag]:
    """Up to `size` tags, newest first, that are older than `before`."""
    wanted = _select_tags().order_by(tags.c.id.desc()).limit(size)
    if before is not None:
        wanted = wanted.where(tags.c.id < before)
    return [Tag(**row) for row in (await session.execute(wanted)).mappings()]


async def rename_tag(session: TenantSession, tag_id: UUID, name: str) -> Tag:
    """Give a tag another name. Raises NotFound and TagNameTaken."""
    try:
        await session.execute(
            update(tags).where(tags.c.id == tag_id).values(name=name, folded_name=_folded(name))
        )
    except IntegrityError as error:
        raise TagNameTaken(name) from error
    return await get_tag(session, tag_id)


async def delete_tag(session: TenantSession, tag_id: UUID) -> None:
    """Delete a tag; its contacts stay. Raises NotFound."""
    if await session.scalar(delete(tags).where(tags.c.id == tag_id).returning(tags.c.id)) is None:
        raise NotFound(f"tag as {tag_id}")


async def require_tags(session: TenantSession, tag_ids: Collection[UUID]) -> None:
    """Raises NotFound that names those of the tags that do not exist."""
    await require(session, "tag", tags, tag_ids)


async def existing_tags_named(session: TenantSession, names: Collection[str]) -> list[UUID]:
    """The ids of tags by their names. Raises NotFound that names one that does not exist."""
    folded_names = {_folded(name): name for name in names}
    found = await session.execute(
        select(tags.c.folded_name, tags.c.id).where(among(tags.c.folded_name, list(folded_names)))
    )
    ids = {row.folded_name: row.id for row in found}
    for folded, name in sorted(folded_names.items()):
        if folded not in ids:
            raise NotFound(f"tag with the name {name}")
    return list(ids.values())


async def tags_named(session: TenantSession, names: Iterable[str]) -> dict[str, UUID]:
    """The ids of tags by the names as they are given; makes those that do not exist, and holds all."""
    folded_names = {name: _folded(name) for name in names}
    if not folded_names:
        return {}
    # In one order, so that two who make the same tags cannot wait for each other in a circle.
    wanted = sorted({folded: name for name, folded in folded_names.items()}.items())
    await session.execute(
        text("""
            INSERT INTO tags (id, name, folded_name)
            SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:names AS text[]), CAST(:folded AS text[]))
            ON CONFLICT (organization_id, folded_name) DO NOTHING
        """),
        {
            "ids": [new_id() for _ in wanted],
            "names": [name for _, name in wanted],
            "folded": [folded for folded, _ in wanted],
        },
    )
    found = await session.execute(
        select(tags.c.folded_name, tags.c.id)
        .where(among(tags.c.folded_name, [folded for folded, _ in wanted]))
        .order_by(tags.c.id)
        .with_for_update(key_share=True, read=True)
    )
    ids = {row.folded_name: row.id for row in found}
    return {name: ids[folded] for name, folded in folded_names.items()}


async def hold_tags(session: TenantSession, tag_ids: Collection[UUID]) -> None:
    """Keep these tags from being deleted until the transaction ends. Raises NotFound that names those that do not exist."""
    await hold(session, "tag", tags, tag_ids)


# A contact and a tag.
Pair: TypeAlias = tuple[UUID, UUID]

_TAG = text("""
    WITH tagged AS (
        INSERT INTO taggings (tag_id, contact_id, source)
        SELECT tag_id, contact_id, :source
        FROM unnest(CAST(:tag_ids AS uuid[]), CAST(:contact_ids AS uuid[])) AS given (tag_id, contact_id)
        ORDER BY contact_id, tag_id
        ON CONFLICT DO NOTHING RETURNING tag_id, contact_id
    ), noted AS (
        INSERT INTO contact_events (contact_id, type, source, source_id, about_id)
        SELECT contact_id, 'tag_added', :source, CAST(:source_id AS uuid), tag_id FROM tagged
    )
    SELECT contact_id, tag_id FROM tagged
""")
_UNTAG = text("""
    WITH gone AS (
        DELETE FROM taggings WHERE contact_id = ANY(:contact_ids) AND tag_id = ANY(:tag_ids)
        RETURNING contact_id, tag_id
    ), noted AS (
        INSERT INTO contact_events (contact_id, type, source, source_id, about_id)
        SELECT contact_id, 'tag_removed', :source, CAST(:source_id AS uuid), tag_id FROM gone
    )
    SELECT contact_id, tag_id FROM gone
""")


async def tag_contacts(session: TenantSession, pairs: Sequence[Pair], origin: Origin) -> list[Pair]:
    """Give contacts tags that exist and are held; answers what is new, for `announce_tag_added`."""
    if not pairs:
        return []
    contact_ids, tag_ids = zip(*pairs, strict=True)
    tagged = await session.execute(
        _TAG,
        {
            "tag_ids": list(tag_ids),
            "contact_ids": list(contact_ids),
            "source": origin.source.value,
            "source_id": origin.id,
        },
    )
    return [(row.contact_id, row.tag_id) for row in tagged]


async def untag_contacts(
    session: TenantSession, contact_ids: Collection[UUID], tag_ids: Collection[UUID], origin: Origin
) -> set[UUID]:
    """Take tags from contacts; answers whom that changed."""
    untagged = await session.execute(
        _UNTAG,
        {
            "contact_ids": list(contact_ids),
            "tag_ids": list(tag_ids),
            "source": origin.source.value,
            "source_id": origin.id,
        },
    )
    gone = [(row.contact_id, row.tag_id) for row in untagged]
    announce_tag_removed(session, gone, origin.source)
    return {contact_id for contact_id, _ in gone}


async def untag_by_name(
    session: TenantSession, contact_id: UUID, names: Iterable[str], origin: Origin
) -> None:
    """Take tags from a contact by their names; names of no tag are left out."""
    folded = {_folded(name) for name in names}
    found = await session.execute(select(tags.c.id).where(among(tags.c.folded_name, folded)))
    await untag_contacts(session, [contact_id], list(found.scalars()), origin)


def _folded(name: str) -> str:
    return name.casefold()


def _select_tags() -> Select[tuple[UUID, str, datetime, int]]:
    count = (
        select(func.count())
        .where(taggings.c.organization_id == tags.c.organization_id, taggings.c.tag_id == tags.c.id)
        .scalar_subquery()
    )
    return select(tags.c.id, tags.c.name, tags.c.created_at, count.label("contact_count"))
