"""ImportService: take uploads in, and show how far imports are."""

from collections.abc import AsyncIterator, Callable, Sequence
from hashlib import sha256

from google.api.httpbody_pb2 import HttpBody

from chassis.context import RequestContext
from chassis.csv_files import CSV, csv_lines
from chassis.database import Database, TenantSession
from chassis.errors import FieldViolation, InvalidRequest
from chassis.idempotency import remembered
from chassis.identifiers import parse_id
from chassis.pagination import decode_cursor, next_cursor, page_size
from flownurture.contacts.v1 import imports_pb2 as pb
from services.contacts import imports
from services.contacts.api.fields import names_of
from services.contacts.import_rows import RowError
from services.contacts.imports import Import, Options
from services.contacts.jobs import JobStatus
from services.contacts.uploads import Upload

_STATUSES = {status.value: pb.ImportStatus.Value(f"IMPORT_STATUS_{status.name}") for status in JobStatus}
# Shown with the import itself; the others are in a file.
_ERRORS_SHOWN = 1_000
_ERRORS_A_PIECE = 5_000


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
                return _as_message(await imports.create_import(session, _options_of(options), upload))

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
        errors = await imports.row_errors(session, found.id, after_line=0, size=_ERRORS_SHOWN)
        return _as_message(found, errors)

    async def download_import_errors(
        self, request: pb.DownloadImportErrorsRequest, context: RequestContext
    ) -> AsyncIterator[HttpBody]:
        """The refused rows as CSV, or NOT_FOUND."""
        import_id = parse_id(request.import_id)
        async with self._database.tenant_transaction(context, read_only=True) as session:
            await imports.get_import(session, import_id)
        yield HttpBody(content_type=CSV, data=csv_lines([("line", "field", "message")]))
        errors: Sequence[RowError] = [RowError(0, "", "")]
        while errors:
            async with self._database.tenant_transaction(context, read_only=True) as session:
                errors = await imports.row_errors(
                    session, import_id, after_line=errors[-1].line, size=_ERRORS_A_PIECE
                )
            yield HttpBody(data=csv_lines((each.line, each.field, each.message) for each in errors))

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


def _options_of(options: pb.ImportOptions) -> Options:
    return Options(
        list_id=parse_id(options.list_id) if options.list_id else None,
        columns=dict(options.columns),
        tags=names_of("options.tags", options.tags),
        dry_run=options.dry_run,
        only_new=options.only_new,
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
        status=_STATUSES[found.status],
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
        dry_run=found.dry_run,
    )
    message.created_at.FromDatetime(found.created_at)
    if found.completed_at is not None:
        message.completed_at.FromDatetime(found.completed_at)
    return message


def _progress(found: Import) -> float:
    return found.next_offset / found.size_bytes if found.size_bytes else 1.0
