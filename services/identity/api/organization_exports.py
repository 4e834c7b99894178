"""`OrganizationExportService`: all that the platform holds of an organization, for an operator to hand over."""

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any
from uuid import UUID

from google.api.httpbody_pb2 import HttpBody

from chassis.context import RequestContext
from chassis.database import Database
from flownurture.identity.v1 import organization_exports_pb2 as pb
from flownurture.operations.v1.exports_pb2 import Whole
from services.identity import audit
from services.identity.audit import Act
from services.identity.export_peers import ExportPeers
from services.identity.platform import Platform
from services.identity.sessions import within

_JSON_LINES = "application/x-ndjson"


class OrganizationExportService:
    """What each service holds of it, in one answer."""

    service = pb.DESCRIPTOR.services_by_name["OrganizationExportService"]

    def __init__(self, database: Database, platform: Platform, peers: ExportPeers) -> None:
        self._database = database
        self._platform = platform
        self._peers = peers

    async def export_organization(
        self, request: pb.ExportOrganizationRequest, context: RequestContext
    ) -> AsyncIterator[HttpBody]:
        """All of it, or NOT_FOUND. The trail tells of it before anything is given."""
        organization = await self._platform.organization(UUID(request.organization_id))
        tenant = within(context, organization.id)
        async with self._database.tenant_transaction(tenant) as session:
            await audit.record(session, Act.ORGANIZATION_EXPORTED, organization.id)
        async with aclosing(self._lines(tenant)) as lines:
            async for part in lines:
                yield HttpBody(content_type=_JSON_LINES, data=part)

    async def _lines(self, tenant: RequestContext) -> AsyncGenerator[bytes, None]:
        """What services give, and last what all of them say there was."""
        whole = {}
        async with aclosing(self._peers.pieces(tenant)) as pieces:
            async for service, piece in pieces:
                if piece.HasField("whole"):
                    whole[service] = _facts(piece.whole)
                else:
                    yield piece.lines
        yield json.dumps({"whole": whole}).encode() + b"\n"


def _facts(whole: Whole) -> dict[str, Any]:
    return {"revision": whole.revision, "rows": dict(whole.rows), "left_out": dict(whole.left_out)}
