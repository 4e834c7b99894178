"""The versions of a workflow: its document as rows keep it."""

from collections.abc import Collection, Mapping
from typing import Any, TypeAlias
from uuid import UUID

from google.protobuf import json_format
from sqlalchemy import text

from chassis.database import TenantSession
from flownurture.sending.v1.workflows_pb2 import WorkflowDocument
from services.sending.workflows.documents import Version

# A workflow and the number of its version.
Numbered: TypeAlias = tuple[UUID, int]

_READ = text("""
    SELECT workflow_id, number, document FROM workflow_versions
    WHERE (workflow_id, number) IN (
        SELECT * FROM unnest(CAST(:workflow_ids AS uuid[]), CAST(:numbers AS integer[]))
    )
""")


async def read_versions(session: TenantSession, wanted: Collection[Numbered]) -> Mapping[Numbered, Version]:
    """Those of them that there are."""
    given = {"workflow_ids": [each[0] for each in wanted], "numbers": [each[1] for each in wanted]}
    rows = await session.execute(_READ, given)
    return {(row.workflow_id, row.number): Version(row.number, parse_document(row.document)) for row in rows}


def keep_document(document: WorkflowDocument) -> Mapping[str, Any]:
    """As a row keeps it: JSON by the contract's own names."""
    kept: Mapping[str, Any] = json_format.MessageToDict(document, preserving_proto_field_name=True)
    return kept


def parse_document(kept: Mapping[str, Any]) -> WorkflowDocument:
    """As `keep_document` made it."""
    return json_format.ParseDict(dict(kept), WorkflowDocument())
