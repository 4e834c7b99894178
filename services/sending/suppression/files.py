"""The list as files: addresses put on it from one, and all of it written into one as it is read."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from itertools import islice
from typing import IO
from uuid import UUID

from chassis.context import RequestContext
from chassis.csv_files import csv_lines
from chassis.database import Database
from chassis.email_address import EmailAddress
from services.sending.suppression.address_files import EMAIL, RowError, read_addresses
from services.sending.suppression.search import Suppression, Wanted, page_from_the_oldest
from services.sending.suppression.suppressions import add_all_by_hand

# Refused rows are all counted, but no more of them are told.
_MOST_ROW_ERRORS = 1_000
# What one transaction adds: while it does, the organization's claims and opt-outs wait.
_ADDED_AT_ONCE = 1_000
_PAGE = 1_000
_COLUMNS = (EMAIL, "digest", "reason", "note", "message_id", "added_by", "created_at")


@dataclass(slots=True)
class Imported:
    """What became of a file's rows."""

    rows: int = 0
    added: int = 0
    failed: int = 0
    errors: list[RowError] = field(default_factory=list)


async def import_addresses(
    database: Database, context: RequestContext, file: IO[bytes], note: str
) -> Imported:
    """Put a file's addresses on the list by hand, in sets that are in force one after the other. Doing it again changes nothing."""
    imported = Imported()
    rows = read_addresses(file)
    while read := await asyncio.to_thread(list, islice(rows, _ADDED_AT_ONCE)):
        addresses = [row for row in read if isinstance(row, EmailAddress)]
        errors = [row for row in read if isinstance(row, RowError)]
        async with database.tenant_transaction(context) as session:
            imported.added += await add_all_by_hand(session, addresses, note)
        imported.rows += len(read)
        imported.failed += len(errors)
        imported.errors += errors[: _MOST_ROW_ERRORS - len(imported.errors)]
    return imported


async def export_csv(database: Database, context: RequestContext, wanted: Wanted) -> AsyncIterator[bytes]:
    """The file in pieces, each page of it read in a transaction of its own: a header, then a line for each entry, oldest first."""
    yield csv_lines([_COLUMNS])
    after: UUID | None = None
    while True:
        async with database.tenant_transaction(context, read_only=True) as session:
            page = await page_from_the_oldest(session, wanted, after=after, size=_PAGE)
        if not page:
            return
        yield csv_lines(map(_cells, page))
        after = page[-1].id


def _cells(entry: Suppression) -> list[str]:
    return [
        entry.email,
        entry.email_digest.hex(),
        entry.reason,
        entry.note,
        str(entry.message_id or ""),
        f"{entry.actor_kind.lower()} {entry.actor_id}".strip(),
        entry.created_at.isoformat(),
    ]
