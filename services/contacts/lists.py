"""Named sets of contacts, and who is in them."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Select, Table, delete, func, literal, select, update
from sqlalchemy.dialects.postgresql import insert

from chassis.database import TenantSession
from chassis.errors import NotFound
from chassis.identifiers import new_id
from services.contacts.announcements import announce_updated_by_id
from services.contacts.contact_rows import SELECT_CONTACTS, Contact
from services.contacts.sets import among
from services.contacts.tables import contacts, lists, memberships

# An error names as many of the ids that do not exist.
_MOST_NAMED = 10


@dataclass(frozen=True, slots=True)
class ContactList:
    """A list, with the number of contacts in it at the time of reading."""

    id: UUID
    name: str
    description: str
    created_at: datetime
    contact_count: int


async def create_list(session: TenantSession, name: str, description: str) -> ContactList:
    """Create an empty list."""
    row = await session.execute(
        insert(lists)
        .values(id=new_id(), name=name, description=description)
        .returning(lists.c.id, lists.c.name, lists.c.description, lists.c.created_at)
    )
    return ContactList(**row.mappings().one(), contact_count=0)


async def get_list(session: TenantSession, list_id: UUID) -> ContactList:
    """The list. Raises NotFound."""
    row = (await session.execute(_select_lists().where(lists.c.id == list_id))).mappings().one_or_none()
    if row is None:
        raise _no_such("list", [list_id])
    return ContactList(**row)


async def page_lists(session: TenantSession, *, before: UUID | None, size: int) -> list[ContactList]:
    """Up to `size` lists, newest first, that are older than `before`."""
    wanted = _select_lists().order_by(lists.c.id.desc()).limit(size)
    if before is not None:
        wanted = wanted.where(lists.c.id < before)
    return [ContactList(**row) for row in (await session.execute(wanted)).mappings()]


async def update_list(
    session: TenantSession, list_id: UUID, *, name: str | None, description: str | None
) -> ContactList:
    """Change what is not None. Raises NotFound."""
    given = {"name": name, "description": description}
    changes = {column: value for column, value in given.items() if value is not None}
    if changes:
        await session.execute(update(lists).where(lists.c.id == list_id).values(**changes))
    return await get_list(session, list_id)


async def delete_list(session: TenantSession, list_id: UUID) -> None:
    """Delete a list and its memberships; its contacts stay. Raises NotFound."""
    if await session.scalar(delete(lists).where(lists.c.id == list_id).returning(lists.c.id)) is None:
        raise _no_such("list", [list_id])


async def add_contacts(session: TenantSession, list_id: UUID, contact_ids: Collection[UUID]) -> int:
    """Put contacts into a list, all or none; answers how many were not in it. Raises NotFound that names which are not."""
    await hold_lists(session, [list_id])
    await _hold("contact", contacts, session, contact_ids)
    added = await session.execute(
        insert(memberships)
        .from_select(
            ["list_id", "contact_id"],
            select(literal(list_id), contacts.c.id).where(among(contacts.c.id, contact_ids)),
        )
        .on_conflict_do_nothing()
        .returning(memberships.c.contact_id)
    )
    ids = list(added.scalars())
    await announce_updated_by_id(session, ids)
    return len(ids)


async def join(session: TenantSession, contact_id: UUID, list_ids: Collection[UUID]) -> None:
    """Put a contact into lists. Raises NotFound that names the lists that do not exist."""
    await hold_lists(session, list_ids)
    await session.execute(
        insert(memberships)
        .from_select(
            ["list_id", "contact_id"],
            select(lists.c.id, literal(contact_id)).where(among(lists.c.id, list_ids)),
        )
        .on_conflict_do_nothing()
    )


async def remove_contact(session: TenantSession, list_id: UUID, contact_id: UUID) -> None:
    """Take a contact out of a list. Raises NotFound when there is no such list, or the contact is not in it."""
    removed = await session.scalar(
        delete(memberships)
        .where(memberships.c.list_id == list_id, memberships.c.contact_id == contact_id)
        .returning(memberships.c.contact_id)
    )
    if removed is None:
        await require_lists(session, [list_id])
        raise NotFound(f"contact in the list as {contact_id}")
    await announce_updated_by_id(session, [contact_id])


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
        wanted = wanted.where(memberships.c.contact_id < before)
    return [Contact(**row) for row in (await session.execute(wanted)).mappings()]


async def require_lists(session: TenantSession, list_ids: Collection[UUID]) -> None:
    """Raises NotFound that names those of the lists that do not exist."""
    found = await session.execute(_ids_among(lists, list_ids))
    _refuse_missing("list", list_ids, found.scalars())


async def hold_lists(session: TenantSession, list_ids: Collection[UUID]) -> None:
    """Keep these lists from being deleted until the transaction ends. Raises NotFound as `require_lists` does."""
    await _hold("list", lists, session, list_ids)


async def _hold(what: str, table: Table, session: TenantSession, ids: Collection[UUID]) -> None:
    found = await session.execute(_ids_among(table, ids).with_for_update(key_share=True, read=True))
    _refuse_missing(what, ids, found.scalars())


def _ids_among(table: Table, ids: Collection[UUID]) -> Select[tuple[UUID]]:
    return select(table.c.id).where(among(table.c.id, ids)).order_by(table.c.id)


def _refuse_missing(what: str, ids: Collection[UUID], found: Iterable[UUID]) -> None:
    if missing := set(ids).difference(found):
        raise _no_such(what, missing)


def _select_lists() -> Select[tuple[UUID, str, str, datetime, int]]:
    count = (
        select(func.count())
        .where(
            memberships.c.organization_id == lists.c.organization_id,
            memberships.c.list_id == lists.c.id,
        )
        .scalar_subquery()
    )
    return select(
        lists.c.id, lists.c.name, lists.c.description, lists.c.created_at, count.label("contact_count")
    )


def _no_such(what: str, ids: Collection[UUID]) -> NotFound:
    named = ", ".join(map(str, sorted(ids)[:_MOST_NAMED]))
    more = f" and {len(ids) - _MOST_NAMED} more" if len(ids) > _MOST_NAMED else ""
    return NotFound(f"{what} as {named}{more}")
