"""SuppressionFileService: take files in and give them out."""

import asyncio
from collections.abc import AsyncIterator
from hashlib import sha256
from tempfile import SpooledTemporaryFile
from typing import IO

from google.api.httpbody_pb2 import HttpBody
from sqlalchemy import text

from chassis.context import RequestContext
from chassis.csv_files import CSV
from chassis.database import Database
from chassis.errors import FieldViolation, InvalidRequest
from chassis.idempotency import remembered
from flownurture.suppression.v1 import files_pb2 as pb
from services.sending.api.statuses import reason_filter
from services.sending.suppression.api.periods import period_of
from services.sending.suppression.files import Imported, export_csv, import_addresses
from services.sending.suppression.search import Wanted

_IN_MEMORY = 1 << 20
# So that who opts out finds a connection, whatever is imported.
_AT_ONCE = 2
# As long as an upload may take. What the transaction holds meanwhile is the key alone, for which nobody but its owner waits.
_HOLD_FOR_LONG = text("SET LOCAL idle_in_transaction_session_timeout = '10min'")


class SuppressionFileApi:
    """The list from CSV files, and as one."""

    service = pb.DESCRIPTOR.services_by_name["SuppressionFileService"]

    def __init__(self, database: Database) -> None:
        self._database = database
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def import_suppressions(
        self, requests: AsyncIterator[pb.ImportSuppressionsRequest], context: RequestContext
    ) -> pb.ImportSuppressionsResponse:
        """Receive the whole file, then put what it holds on the list; all of it is in force when this answers."""
        options = await _options(requests)
        digest = sha256(options.SerializeToString(deterministic=True))
        with SpooledTemporaryFile(max_size=_IN_MEMORY) as file:
            async for request in requests:
                if request.WhichOneof("part") != "chunk":
                    raise InvalidRequest(FieldViolation("options", "may be given once, before the file"))
                digest.update(request.chunk)
                await asyncio.to_thread(file.write, request.chunk)
            await asyncio.to_thread(file.seek, 0)
            return await self._import(context, file, options.note, digest.digest())

    async def export_suppressions(
        self, request: pb.ExportSuppressionsRequest, context: RequestContext
    ) -> AsyncIterator[HttpBody]:
        """The list as CSV."""
        since, until = period_of(request)
        wanted = Wanted(reason=reason_filter("reason", request.reason), since=since, until=until)
        async for piece in export_csv(self._database, context, wanted):
            yield HttpBody(content_type=CSV, data=piece)

    async def _import(
        self, context: RequestContext, file: IO[bytes], note: str, fingerprint: bytes
    ) -> pb.ImportSuppressionsResponse:
        """Add once under a key, which is held by a transaction that is open meanwhile and writes nothing but the answer."""

        async def add() -> pb.ImportSuppressionsResponse:
            return _as_message(await import_addresses(self._database, context, file, note))

        async with self._slots, self._database.tenant_transaction(context) as session:
            await session.execute(_HOLD_FOR_LONG)
            method = f"{self.service.full_name}.ImportSuppressions"
            return await remembered(session, context, method, fingerprint, add)


async def _options(requests: AsyncIterator[pb.ImportSuppressionsRequest]) -> pb.SuppressionImportOptions:
    async for request in requests:
        if request.WhichOneof("part") == "options":
            return request.options
        break
    raise InvalidRequest(FieldViolation("options", "must come before the file"))


def _as_message(imported: Imported) -> pb.ImportSuppressionsResponse:
    return pb.ImportSuppressionsResponse(
        processed_rows=imported.rows,
        added_addresses=imported.added,
        failed_rows=imported.failed,
        errors=[
            pb.SuppressionRowError(line=error.line, field=error.field, message=error.message)
            for error in imported.errors
        ],
    )
