"""Exports: which contacts, said once; their files are written from the database as they are downloaded, and no copy is kept."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, exists, func, select, true
from sqlalchemy.dialects.postgresql import insert

from chassis.context import RequestContext
from chassis.database import Database, TenantSession
from chassis.errors import NotFound
from chassis.identifiers import new_id
from services.contacts.contact_rows import SELECT_CONTACTS, Contact
from services.contacts.contacts import require_contact
from services.contacts.lists import require_lists
from services.contacts.segments import fitting, get_segment, usable
from services.contacts.tables import contacts, exports, memberships, taggings
from services.contacts.tags import require_tags

_PAGE = 1_000


@dataclass(frozen=True, slots=True)
class Scope:
    """Which contacts: those of a list, of a tag, of a segment, one alone; or all, when nothing is given."""

    list_id: UUID | None = None
    tag_id: UUID | None = None
    segment_id: UUID | None = None
    contact_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Export:
    """An export, and how many contacts it had when it was asked for."""

    id: UUID
    list_id: UUID | None
    tag_id: UUID | None
    segment_id: UUID | None
    contact_id: UUID | None
    contact_count: int
    created_at: datetime

    @property
    def scope(self) -> Scope:
        """Which contacts it is of."""
        return Scope(self.list_id, self.tag_id, self.segment_id, self.contact_id)


_COLUMNS = [exports.c[name] for name in Export.__dataclass_fields__]


async def create_export(session: TenantSession, scope: Scope) -> Export:
    """Say which contacts to export. Raises NotFound for what does not exist."""
    wanted = await _wanted(session, scope)
    created = await session.execute(
        insert(exports)
        .values(
            id=new_id(),
            list_id=scope.list_id,
            tag_id=scope.tag_id,
            segment_id=scope.segment_id,
            contact_id=scope.contact_id,
            contact_count=select(func.count()).select_from(contacts).where(wanted).scalar_subquery(),
        )
        .returning(*_COLUMNS)
    )
    return Export(**created.mappings().one())


async def get_export(session: TenantSession, export_id: UUID) -> Export:
    """The export. Raises NotFound."""
    found = await session.execute(select(*_COLUMNS).where(exports.c.id == export_id))
    row = found.mappings().one_or_none()
    if row is None:
        raise NotFound(f"export as {export_id}")
    return Export(**row)


async def page_exports(session: TenantSession, *, before: UUID | None, size: int) -> list[Export]:
    """Up to `size` exports, newest first, that are older than `before`."""
    wanted = select(*_COLUMNS).order_by(exports.c.id.desc()).limit(size)
    if before is not None:
        wanted = wanted.where(exports.c.id < before)
    return [Export(**row) for row in (await session.execute(wanted)).mappings()]


async def stream_contacts(
    database: Database, context: RequestContext, export_id: UUID
) -> AsyncIterator[tuple[TenantSession, Sequence[Contact]]]:
    """The contacts of an export by ascending id, in pages, each with the transaction it was read in.

    No page is empty. Raises NotFound for the export, and for a list, tag, segment or contact that is gone since.
    """
    after: UUID | None = None
    while True:
        async with database.tenant_transaction(context, read_only=True) as session:
            export = await get_export(session, export_id)
            wanted = SELECT_CONTACTS.where(await _wanted(session, export.scope)).order_by(contacts.c.id)
            if after is not None:
                wanted = wanted.where(contacts.c.id > after)
            found = await session.execute(wanted.limit(_PAGE))
            page = [Contact(**row) for row in found.mappings()]
            if not page:
                return
            yield session, page
        after = page[-1].id


async def _wanted(session: TenantSession, scope: Scope) -> ColumnElement[bool]:
    if scope.list_id is not None:
        await require_lists(session, [scope.list_id])
        return exists().where(
            memberships.c.organization_id == contacts.c.organization_id,
            memberships.c.contact_id == contacts.c.id,
            memberships.c.list_id == scope.list_id,
        )
    if scope.tag_id is not None:
        await require_tags(session, [scope.tag_id])
        return exists().where(
            taggings.c.organization_id == contacts.c.organization_id,
            taggings.c.contact_id == contacts.c.id,
            taggings.c.tag_id == scope.tag_id,
        )
    if scope.segment_id is not None:
        segment = await get_segment(session, scope.segment_id)
        return await fitting(session, await usable(session, segment))
    if scope.contact_id is not None:
        await require_contact(session, scope.contact_id)
        return contacts.c.id == scope.contact_id
    return true()
