"""Imports of contacts from files: what has been asked for, how far it is, and what was refused."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from chassis.database import TenantSession
from chassis.errors import NotFound
from chassis.identifiers import new_id
from services.contacts.import_rows import RowError
from services.contacts.lists import hold_lists
from services.contacts.tables import import_parts, import_row_errors, imports
from services.contacts.uploads import Upload

# Refused rows are all counted, but no more of them are kept.
MOST_ROW_ERRORS = 1_000


class ImportStatus(StrEnum):
    """Where an import stands."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"


UNFINISHED = (ImportStatus.PENDING.value, ImportStatus.RUNNING.value)


@dataclass(frozen=True, slots=True)
class Import:
    """An import as its owner sees it; `next_offset` is how many of its bytes have been read."""

    id: UUID
    status: str
    list_id: UUID | None
    size_bytes: int
    next_offset: int
    processed_rows: int
    created_contacts: int
    updated_contacts: int
    duplicate_rows: int
    failed_rows: int
    failure: str
    created_at: datetime
    completed_at: datetime | None


_COLUMNS = [imports.c[name] for name in Import.__dataclass_fields__]


async def create_import(session: TenantSession, list_id: UUID | None, upload: Upload) -> Import:
    """Keep a whole file, to be imported in the background. Raises NotFound when there is no such list."""
    if list_id is not None:
        await hold_lists(session, [list_id])
    created = await session.execute(
        insert(imports)
        .values(
            id=new_id(),
            status=ImportStatus.PENDING.value,
            list_id=list_id,
            size_bytes=upload.size,
            contact_limit=session.context.limit("contacts"),
        )
        .returning(*_COLUMNS)
    )
    found = Import(**created.mappings().one())
    number = 0
    async for content in upload.parts():
        await session.execute(insert(import_parts).values(import_id=found.id, number=number, content=content))
        number += 1
    return found


async def get_import(session: TenantSession, import_id: UUID) -> Import:
    """The import. Raises NotFound."""
    row = (await session.execute(select(*_COLUMNS).where(imports.c.id == import_id))).mappings().one_or_none()
    if row is None:
        raise NotFound(f"import as {import_id}")
    return Import(**row)


async def row_errors(session: TenantSession, import_id: UUID) -> Sequence[RowError]:
    """The first refused rows, in the order of the file."""
    held = import_row_errors
    rows = await session.execute(
        select(held.c.line, held.c.field, held.c.message)
        .where(held.c.import_id == import_id)
        .order_by(held.c.line)
    )
    return [RowError(**row) for row in rows.mappings()]


async def page_imports(session: TenantSession, *, before: UUID | None, size: int) -> list[Import]:
    """Up to `size` imports, newest first, that are older than `before`."""
    wanted = select(*_COLUMNS).order_by(imports.c.id.desc()).limit(size)
    if before is not None:
        wanted = wanted.where(imports.c.id < before)
    return [Import(**row) for row in (await session.execute(wanted)).mappings()]
