"""ExportService: decode, call the domain, encode."""

from collections.abc import AsyncIterator
from uuid import UUID

from google.api.httpbody_pb2 import HttpBody

from chassis.context import RequestContext
from chassis.csv_files import CSV
from chassis.database import Database, TenantSession
from chassis.errors import FieldViolation, InvalidRequest
from chassis.identifiers import parse_id
from chassis.pagination import decode_cursor, next_cursor, page_size
from flownurture.contacts.v1 import exports_pb2 as pb
from services.contacts import exports
from services.contacts.export_files import csv_file, json_file
from services.contacts.exports import Scope

_SCOPES = ("list_id", "tag_id", "segment_id", "contact_id")
_JSON_LINES = "application/x-ndjson"


class ExportApi:
    """Contacts as files."""

    service = pb.DESCRIPTOR.services_by_name["ExportService"]

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create_export(
        self, request: pb.CreateExportRequest, context: RequestContext, session: TenantSession
    ) -> pb.Export:
        """Say which contacts to export. NOT_FOUND for what is not there."""
        given = [name for name in _SCOPES if getattr(request, name)]
        if len(given) > 1:
            raise InvalidRequest(*(FieldViolation(name, "must be given alone") for name in given))
        scope = Scope(**{name: parse_id(getattr(request, name)) for name in given})
        return _as_message(await exports.create_export(session, scope))

    async def get_export(
        self, request: pb.GetExportRequest, context: RequestContext, session: TenantSession
    ) -> pb.Export:
        """The export, or NOT_FOUND."""
        return _as_message(await exports.get_export(session, parse_id(request.export_id)))

    async def list_exports(
        self, request: pb.ListExportsRequest, context: RequestContext, session: TenantSession
    ) -> pb.ListExportsResponse:
        """Exports, newest first."""
        size = page_size(request.page_size)
        found = await exports.page_exports(session, before=decode_cursor(request.page_token), size=size + 1)
        return pb.ListExportsResponse(
            exports=map(_as_message, found[:size]), next_page_token=next_cursor(found, size)
        )

    async def download_export_csv(
        self, request: pb.DownloadExportCsvRequest, context: RequestContext
    ) -> AsyncIterator[HttpBody]:
        """The contacts as CSV, or NOT_FOUND."""
        async for piece in csv_file(self._database, context, parse_id(request.export_id)):
            yield HttpBody(content_type=CSV, data=piece)

    async def download_export_json(
        self, request: pb.DownloadExportJsonRequest, context: RequestContext
    ) -> AsyncIterator[HttpBody]:
        """The contacts as JSON Lines, or NOT_FOUND."""
        async for piece in json_file(self._database, context, parse_id(request.export_id)):
            yield HttpBody(content_type=_JSON_LINES, data=piece)


def _as_message(export: exports.Export) -> pb.Export:
    message = pb.Export(
        id=str(export.id),
        list_id=_text(export.list_id),
        tag_id=_text(export.tag_id),
        segment_id=_text(export.segment_id),
        contact_id=_text(export.contact_id),
        contact_count=export.contact_count,
    )
    message.created_at.FromDatetime(export.created_at)
    return message


def _text(id_: UUID | None) -> str:
    return "" if id_ is None else str(id_)
