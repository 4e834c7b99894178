"""Imports of contacts from files: what has been asked for, how far it is, and what was refused."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert

from chassis.database import TenantSession
from chassis.errors import FieldViolation, InvalidRequest, NotFound
from chassis.identifiers import new_id
from services.contacts.csv_header import IGNORE, OWN
from services.contacts.custom_fields import read_fields
from services.contacts.import_rows import RowError
from services.contacts.jobs import JobStatus, Lease, finish
from services.contacts.lists import hold_lists
from services.contacts.tables import import_addresses, import_parts, import_row_errors, imports
from services.contacts.uploads import Upload

# Refused rows are all counted, but no more of them are kept.
MOST_ROW_ERRORS = 100_000


@dataclass(frozen=True, slots=True)
class Options:
    """How a file is to be imported."""

    list_id: UUID | None = None
    # What columns are, by their names in the file.
    columns: Mapping[str, str] = field(default_factory=dict)
    # Names of tags for everybody.
    tags: Sequence[str] = ()
    dry_run: bool = False
    only_new: bool = False


@dataclass(frozen=True, slots=True)
class Import:
    """An import as its owner sees it; `next_offset` is how many of its bytes have been read."""

    id: UUID
    status: str
    list_id: UUID | None
    size_bytes: int
    next_offset: int
    dry_run: bool
    processed_rows: int
    created_contacts: int
    updated_contacts: int
    duplicate_rows: int
    failed_rows: int
    failure: str
    created_at: datetime
    completed_at: datetime | None


_COLUMNS = [imports.c[name] for name in Import.__dataclass_fields__]


async def create_import(session: TenantSession, options: Options, upload: Upload) -> Import:
    """Keep a whole file, to be imported in the background.

    Raises NotFound when there is no such list, InvalidRequest for a column that is said to be what there is not.
    """
    await _check_columns(session, options.columns)
    if options.list_id is not None:
        await hold_lists(session, [options.list_id])
    created = await session.execute(
        insert(imports)
        .values(
            id=new_id(),
            status=JobStatus.PENDING.value,
            list_id=options.list_id,
            columns=dict(options.columns),
            tags=list(options.tags),
            dry_run=options.dry_run,
            only_new=options.only_new,
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


async def row_errors(
    session: TenantSession, import_id: UUID, *, after_line: int, size: int
) -> Sequence[RowError]:
    """Up to `size` refused rows behind a line, in the order of the file."""
    held = import_row_errors
    rows = await session.execute(
        select(held.c.line, held.c.field, held.c.message)
        .where(held.c.import_id == import_id, held.c.line > after_line)
        .order_by(held.c.line)
        .limit(size)
    )
    return [RowError(**row) for row in rows.mappings()]


async def page_imports(session: TenantSession, *, before: UUID | None, size: int) -> list[Import]:
    """Up to `size` imports, newest first, that are older than `before`."""
    wanted = select(*_COLUMNS).order_by(imports.c.id.desc()).limit(size)
    if before is not None:
        wanted = wanted.where(imports.c.id < before)
    return [Import(**row) for row in (await session.execute(wanted)).mappings()]


async def end_import(session: TenantSession, lease: Lease, *, failure: str = "") -> None:
    """End a fenced import, as failed when there is a failure to tell, and drop its file."""
    await finish(session, lease, failure=failure)
    for table in (import_parts, import_addresses):
        await session.execute(delete(table).where(table.c.import_id == lease.job_id))


async def _check_columns(session: TenantSession, columns: Mapping[str, str]) -> None:
    if not columns:
        return
    known = {*OWN, IGNORE, *await read_fields(session)}
    found = [
        FieldViolation(f"options.columns[{name[:60]!r}]", "must be one of: " + ", ".join(sorted(known)))
        for name, meant in columns.items()
        if meant not in known
    ]
    if found:
        raise InvalidRequest(*found)
