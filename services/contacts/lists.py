"""Named sets of contacts, and who is in them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias
from uuid import UUID

from sqlalchemy import Select, delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert

from chassis.database import TenantSession
from chassis.errors import NotFound
from chassis.identifiers import new_id
from services.contacts.announcements import announce_joined, announce_left, announce_moved
from services.contacts.contact_rows import SELECT_CONTACTS, Contact
from services.contacts.events import BY_API, Origin
from services.contacts.references import hold, no_such, require
from services.contacts.tables import contacts, lists, memberships


@dataclass(frozen=True, slots=True)
class ContactList:
    """A list, with the number of contacts in it at the time of reading."""

    id: UUID
    name: str
    description: str
    is_public: bool
    created_at: datetime
    contact_count: int


async def create_list(session: TenantSession, name: str, description: str, *, is_public: bool) -> ContactList:
    """Create an empty list; a public one is seen by people on their page of preferences."""
    row = await session.execute(
        insert(lists)
        .values(id=new_id(), name=name, description=description, is_public=is_public)
        .returning(lists.c.id, lists.c.name, lists.c.description, lists.c.is_public, lists.c.created_at)
    )
    return ContactList(**row.mappings().one(), contact_count=0)


async def get_list(session: TenantSession, list_id: UUID) -> ContactList:
    """The list. Raises NotFound."""
    row = (await session.execute(_select_lists().where(lists.c.id == list_id))).mappings().one_or_none()
    if row is None:
        raise no_such("list", [list_id])
    return ContactList(**row)


async def page_lists(session: TenantSession, *, before: UUID | None, size: int) -> list[ContactList]:
    """Up to `size` lists, newest first, that are older than `before`."""
    wanted = _select_lists().order_by(lists.c.id.desc()).limit(size)
    if before is not None:
        wanted = wanted.where(lists.c.id < before)
    return [ContactList(**row) for row in (await session.execute(wanted)).mappings()]


async def update_list(
    session: TenantSession,
    list_id: UUID,
    *,
    name: str | None,
    description: str | None,
    is_public: bool | None,
) -> ContactList:
    """Change what is not None. Raises NotFound."""
    given = {"name": name, "description": description, "is_public": is_public}
    changes = {column: value for column, value in given.items() if value is not None}
    if changes:
        await session.execute(update(lists).where(lists.c.id == list_id).values(**changes))
    return await get_list(session, list_id)


async def delete_list(session: TenantSession, list_id: UUID) -> None:
    """Delete a list and its memberships; its contacts stay. Raises NotFound."""
    if await session.scalar(delete(lists).where(lists.c.id == list_id).returning(lists.c.id)) is None:
        raise no_such("list", [list_id])


async def add_contacts(session: TenantSession, list_id: UUID, contact_ids: Collection[UUID]) -> int:
    """Put contacts into a list, all or none; answers how many have joined it. Raises NotFound that names which are not there."""
    await hold_lists(session, [list_id])
    await hold(session, "contact", contacts, contact_ids)
    joined = await join(session, [(contact_id, list_id) for contact_id in contact_ids], BY_API)
    await announce_moved(session, {contact_id for contact_id, _ in joined})
    announce_joined(session, joined, BY_API.source)
    return len(joined)


# A contact and a list.
Pair: TypeAlias = tuple[UUID, UUID]

_JOIN = text("""
    WITH joined AS (
        INSERT INTO memberships (list_id, contact_id, source)
        SELECT given.list_id, given.contact_id, :source
        FROM unnest(CAST(:list_ids AS uuid[]), CAST(:contact_ids AS uuid[])) AS given (list_id, contact_id)
        WHERE NOT EXISTS (
            SELECT FROM list_refusals AS refusal
            JOIN contacts AS contact ON contact.email_digest = refusal.email_digest
            WHERE refusal.list_id = given.list_id AND contact.id = given.contact_id
        )
        ORDER BY contact_id, list_id
        ON CONFLICT DO NOTHING RETURNING list_id, contact_id
    ), noted AS (
        INSERT INTO contact_events (contact_id, type, source, source_id, about_id)
        SELECT contact_id, 'list_joined', :source, CAST(:source_id AS uuid), list_id FROM joined
    )
    SELECT contact_id, list_id FROM joined
""")
_LEAVE = text("""
    WITH gone AS (
        DELETE FROM memberships WHERE list_id = ANY(:list_ids) AND contact_id = ANY(:contact_ids)
        RETURNING contact_id, list_id
    ), noted AS (
        INSERT INTO contact_events (contact_id, type, source, source_id, about_id)
        SELECT contact_id, 'list_left', :source, CAST(:source_id AS uuid), list_id FROM gone
    )
    SELECT contact_id, list_id FROM gone
""")


async def join(session: TenantSession, pairs: Sequence[Pair], origin: Origin) -> list[Pair]:
    """Put contacts that are held into lists that are; answers what is new, for `announce_joined`.

    Whoever has left a list by their own choice is not put back into it.
    """
    if not pairs:
        return []
    contact_ids, list_ids = zip(*pairs, strict=True)
    joined = await session.execute(
        _JOIN,
        {
            "list_ids": list(list_ids),
            "contact_ids": list(contact_ids),
            "source": origin.source.value,
            "source_id": origin.id,
        },
    )
    return [(row.contact_id, row.list_id) for row in joined]


async def leave(
    session: TenantSession, contact_ids: Collection[UUID], list_ids: Collection[UUID], origin: Origin
) -> set[UUID]:
    """Take contacts out of lists; answers whom that changed."""
    left = await session.execute(
        _LEAVE,
        {
            "list_ids": list(list_ids),
            "contact_ids": list(contact_ids),
            "source": origin.source.value,
            "source_id": origin.id,
        },
    )
    gone = [(row.contact_id, row.list_id) for row in left]
    announce_left(session, gone, origin.source)
    return {contact_id for contact_id, _ in gone}


async def remove_contact(session: TenantSession, list_id: UUID, contact_id: UUID) -> None:
    """Take a contact out of a list. Raises NotFound when there is no such list, or the contact is not in it."""
    if not await leave(session, [contact_id], [list_id], BY_API):
        await require_lists(session, [list_id])
        raise NotFound(f"contact in the list as {contact_id}")
    await announce_moved(session, [contact_id])


async def page_contacts_of(
    session: TenantSession, list_id: UUID, *, before: UUID | None, size: int
) -> list[Contact]:
    """Up to `size` contacts of a list, newest first, that are older than `before`. Raises NotFound."""
    await require_lists(session, [list_id])
    wanted = (
        SELECT_CONTACTS.join(
            memberships,
            (memberships.c.organization_id == contacts.c.organization_id)
            & (memberships.c.contact_id == contacts.c.id),
        )
        .where(memberships.c.list_id == list_id)
        .order_by(memberships.c.contact_id.desc())
        .limit(size)
    )
    if before is not None:
        # Said of both, since it is not inferred.
        wanted = wanted.where(memberships.c.contact_id < before, contacts.c.id < before)
    return [Contact(**row) for row in (await session.execute(wanted)).mappings()]


async def require_lists(session: TenantSession, list_ids: Collection[UUID]) -> None:
    """Raises NotFound that names those of the lists that do not exist."""
    await require(session, "list", lists, list_ids)


async def hold_lists(session: TenantSession, list_ids: Collection[UUID]) -> None:
    """Keep these lists from being deleted until the transaction ends. Raises NotFound as `require_lists` does."""
    await hold(session, "list", lists, list_ids)


def _select_lists() -> Select[tuple[UUID, str, str, bool, datetime, int]]:
    count = (
        select(func.count())
        .where(
            memberships.c.organization_id == lists.c.organization_id,
            memberships.c.list_id == lists.c.id,
        )
        .scalar_subquery()
    )
    return select(
        lists.c.id,
        lists.c.name,
        lists.c.description,
        lists.c.is_public,
        lists.c.created_at,
        count.label("contact_count"),
    )
