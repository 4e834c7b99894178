"""Works on imports in the background: reads the file of one in chunks, and stores each in a transaction."""

import asyncio
from typing import Any

from sqlalchemy import Row

from chassis.context import RequestContext
from chassis.csv_rows import Position
from chassis.database import Database, RoleDatabase, TenantSession
from services.contacts.csv_header import Columns, Header, read_header
from services.contacts.custom_fields import read_fields
from services.contacts.import_chunks import store_chunk
from services.contacts.import_files import ImportFile
from services.contacts.import_rows import Chunk, read_chunk
from services.contacts.imports import end_import
from services.contacts.jobs import JobWorker, Lease, Turn, release
from services.contacts.tables import imports

# Small enough that requests in the same process do not notice.
_CHUNK_ROWS = 2_000
_GIVEN_UP = "The file could not be processed. Nothing that was imported before is undone."


def import_worker(database: Database, scheduler: RoleDatabase, *, chunk_rows: int = _CHUNK_ROWS) -> JobWorker:
    """What imports files, up to `chunk_rows` rows a transaction."""

    async def work(context: RequestContext, lease: Lease, job: Row[Any]) -> None:
        turn = Turn()
        file = ImportFile(database, context, job.id, job.size_bytes)
        header = await _header(database, context, job, file)
        position = max(
            Position(job.next_offset, job.next_line, job.inside_refused_line),
            header.end,
            key=lambda place: place.offset,
        )
        chunk = await _read(file, position, header, chunk_rows)
        while True:
            over = chunk.finished or turn.over
            # While the database takes this chunk, the next one is read.
            ahead = None if over else asyncio.create_task(_read(file, chunk.end, header, chunk_rows))
            try:
                async with database.tenant_transaction(context) as session:
                    await store_chunk(session, lease, chunk)
                    if over and not chunk.finished:
                        await release(session, lease)
            except BaseException:
                await _forget(ahead)
                raise
            if ahead is None:
                return
            chunk = await ahead

    async def give_up(session: TenantSession, lease: Lease, failure: str) -> None:
        await end_import(session, lease, failure=failure)

    return JobWorker(database, scheduler, imports, work, give_up, gave_up=_GIVEN_UP)


async def _header(database: Database, context: RequestContext, job: Row[Any], file: ImportFile) -> Header:
    async with database.tenant_transaction(context, read_only=True) as session:
        columns = Columns(job.columns, await read_fields(session))
    beginning, whole = await file.read(0)
    return read_header(beginning, columns, at_end=whole)


async def _forget(ahead: asyncio.Task[Chunk] | None) -> None:
    if ahead is not None:
        ahead.cancel()
        await asyncio.gather(ahead, return_exceptions=True)


async def _read(file: ImportFile, position: Position, header: Header, rows: int) -> Chunk:
    data, at_end = await file.read(position.offset)
    return await asyncio.to_thread(read_chunk, data, position, header, at_end=at_end, limit=rows)
