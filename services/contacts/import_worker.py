"""Works on imports in the background: claims one, reads its file in chunks, and stores each in a transaction."""

import asyncio
import logging
from datetime import timedelta
from time import monotonic
from uuid import UUID

from chassis.context import RequestContext
from chassis.database import Database, RoleDatabase
from chassis.scheduler import Scheduler
from services.contacts.csv_header import UnusableFile, read_header
from services.contacts.import_chunks import store_chunk
from services.contacts.import_files import ImportFile
from services.contacts.import_leases import (
    IMPORTS_TO_WORK_ON,
    MOST_ATTEMPTS,
    Lease,
    LeaseLost,
    claim,
    fence,
    finish,
    release,
)
from services.contacts.import_rows import Chunk, read_chunk

_log = logging.getLogger(__name__)

# Small enough that requests in the same process do not notice.
_CHUNK_ROWS = 1_000
# After this long others get their turn, so that a large file does not keep small ones waiting.
_TURN_SECONDS = 1.0
_POLL = timedelta(seconds=2)
_GIVEN_UP = "The file could not be processed. Nothing that was imported before is undone."


class ImportWorker:
    """Imports what is waiting, in any organization, in turns; `wake` tells it that something new is."""

    def __init__(
        self, database: Database, scheduler_database: RoleDatabase, *, chunk_rows: int = _CHUNK_ROWS
    ) -> None:
        self.wake = asyncio.Event()
        self._database = database
        self._chunk_rows = chunk_rows
        self._scheduler = Scheduler(
            scheduler_database, IMPORTS_TO_WORK_ON, _POLL, self.take_turn, process="contacts"
        )

    async def run(self) -> None:
        """Run until cancelled."""
        while True:
            self.wake.clear()
            try:
                busy = await self._scheduler.round()
            except Exception:
                _log.exception("looking for imports failed")
                busy = 0
            if not busy:
                await self._rest()

    async def take_turn(self, context: RequestContext, import_id: UUID) -> None:
        """Work on an import until it ends or the turn is over; nothing happens if somebody else does."""
        async with self._database.tenant_transaction(context) as session:
            lease = await claim(session, import_id)
        if lease is None:
            return
        try:
            if lease.attempts > MOST_ATTEMPTS:
                await self._fail(context, lease, _GIVEN_UP)
            else:
                await self._work(context, lease)
        except UnusableFile as unusable:
            await self._fail(context, lease, str(unusable))
        except LeaseLost:
            _log.warning("import %s was taken over", import_id)

    async def _work(self, context: RequestContext, lease: Lease) -> None:
        turn_ends = monotonic() + _TURN_SECONDS
        file = ImportFile(self._database, context, lease.import_id, lease.size_bytes)
        beginning, whole = await file.read(0)
        header = read_header(beginning, at_end=whole)
        position = max(lease.position, header.end, key=lambda place: place.offset)
        while True:
            data, at_end = await file.read(position.offset)
            chunk: Chunk = await asyncio.to_thread(
                read_chunk, data, position, header, at_end=at_end, limit=self._chunk_rows
            )
            over = not chunk.finished and monotonic() > turn_ends
            async with self._database.tenant_transaction(context) as session:
                await store_chunk(session, lease, chunk)
                if over:
                    await release(session, lease)
            if chunk.finished or over:
                return
            position = chunk.end

    async def _fail(self, context: RequestContext, lease: Lease, failure: str) -> None:
        async with self._database.tenant_transaction(context) as session:
            await fence(session, lease)
            await finish(session, lease, failure=failure)

    async def _rest(self) -> None:
        try:
            async with asyncio.timeout(_POLL.total_seconds()):
                await self.wake.wait()
        except TimeoutError:
            return
