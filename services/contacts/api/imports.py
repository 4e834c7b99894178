"""ImportService: take uploads in, and show how far imports are."""

from collections.abc import AsyncIterator, Callable, Sequence
from hashlib import sha256

from chassis.context import RequestContext
from chassis.database import Database, TenantSession
from chassis.errors import FieldViolation, InvalidRequest
from chassis.idempotency import remembered
from chassis.identifiers import parse_id
from chassis.pagination import decode_cursor, next_cursor, page_size
from flownurture.contacts.v1 import imports_pb2 as pb
from services.contacts import imports
from services.contacts.import_rows import RowError
from services.contacts.imports import Import, ImportStatus
from services.contacts.uploads import Upload

_STATUSES = {
    ImportStatus.PENDING: pb.IMPORT_STATUS_PENDING,
    ImportStatus.RUNNING: pb.IMPORT_STATUS_RUNNING,
    ImportStatus.COMPLETED: pb.IMPORT_STATUS_COMPLETED,
    ImportStatus.FAILED: pb.IMPORT_STATUS_FAILED,
}


class ImportApi:
    """Contacts from CSV files; `created` is called after each import that has been taken in."""

    service = pb.DESCRIPTOR.services_by_name["ImportService"]

    def __init__(self, database: Database, created: Callable[[], None]) -> None:
        self._database = database
        self._created = created

    async def create_import(
        self, requests: AsyncIterator[pb.CreateImportRequest], context: RequestContext
    ) -> pb.Import:
        """Keep the file whole or not at all, and import it in the background. NOT_FOUND when the list is not there."""
        options = await _options(requests)
        with Upload() as upload:
            async for request in requests:
                if request.WhichOneof("part") != "chunk":
                    raise InvalidRequest(FieldViolation("options", "may be given once, before the file"))
                await upload.write(request.chunk)
            fingerprint = sha256(options.SerializeToString(deterministic=True) + upload.digest).digest()

            async def make() -> pb.Import:
                list_id = parse_id(options.list_id) if options.list_id else None
                return _as_message(await imports.create_import(session, list_id, upload))

            async with self._database.tenant_transaction(context) as session:
                method = f"{self.service.full_name}.CreateImport"
                answer = await remembered(session, context, method, fingerprint, make)
        self._created()
        return answer

    async def get_import(
        self, request: pb.GetImportRequest, context: RequestContext, session: TenantSession
    ) -> pb.Import:
        """How far the import is and which rows were refused, or NOT_FOUND."""
        found = await imports.get_import(session, parse_id(request.import_id))
        return _as_message(found, await imports.row_errors(session, found.id))

    async def list_imports(
        self, request: pb.ListImportsRequest, context: RequestContext, session: TenantSession
    ) -> pb.ListImportsResponse:
        """Imports, newest first, without their row errors."""
        size = page_size(request.page_size)
        found = await imports.page_imports(session, before=decode_cursor(request.page_token), size=size + 1)
        return pb.ListImportsResponse(
            imports=map(_as_message, found[:size]),
            next_page_token=next_cursor(found, size),
        )


async def _options(requests: AsyncIterator[pb.CreateImportRequest]) -> pb.ImportOptions:
    async for request in requests:
        if request.WhichOneof("part") == "options":
            return request.options
        break
    raise InvalidRequest(FieldViolation("options", "must come before the file"))


def _as_message(found: Import, errors: Sequence[RowError] = ()) -> pb.Import:
    message = pb.Import(
        id=str(found.id),
        status=_STATUSES[ImportStatus(found.status)],
        list_id=str(found.list_id or ""),
        processed_rows=found.processed_rows,
        created_contacts=found.created_contacts,
        updated_contacts=found.updated_contacts,
        duplicate_rows=found.duplicate_rows,
        failed_rows=found.failed_rows,
        errors=[pb.RowError(line=error.line, field=error.field, message=error.message) for error in errors],
        failure=found.failure,
        size_bytes=found.size_bytes,
        progress=_progress(found),
    )
    message.created_at.FromDatetime(found.created_at)
    if found.completed_at is not None:
        message.completed_at.FromDatetime(found.completed_at)
    return message


def _progress(found: Import) -> float:
    return found.next_offset / found.size_bytes if found.size_bytes else 1.0
