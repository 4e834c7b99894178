"""Versions of workflows as they are run, remembered: one that ever ran does not change."""

from collections import OrderedDict
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

_MOST_KEPT = 500

_READ = text("""
    SELECT workflow_id, number, document FROM workflow_versions
    WHERE (workflow_id, number) IN (
        SELECT * FROM unnest(CAST(:workflow_ids AS uuid[]), CAST(:numbers AS integer[]))
    )
""")


class Versions:
    """Reads versions that are, or were, active."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[UUID, Numbered], Version] = OrderedDict()

    async def of(self, session: TenantSession, wanted: Collection[Numbered]) -> Mapping[Numbered, Version]:
        """Those of the session's organization. Raises KeyError for one that is not there."""
        organization = session.context.organization
        missing = [each for each in wanted if (organization, each) not in self._kept]
        found = {each: self._kept[organization, each] for each in wanted if each not in missing}
        if missing:
            found |= await read_versions(session, missing)
        for each in wanted:
            self._kept[organization, each] = found[each]
            self._kept.move_to_end((organization, each))
        while len(self._kept) > _MOST_KEPT:
            self._kept.popitem(last=False)
        return found


async def read_versions(session: TenantSession, wanted: Collection[Numbered]) -> Mapping[Numbered, Version]:
    """Those of them that there are."""
    workflow_ids, numbers = zip(*wanted, strict=True)
    rows = await session.execute(_READ, {"workflow_ids": list(workflow_ids), "numbers": list(numbers)})
    return {(row.workflow_id, row.number): Version(row.number, parse_document(row.document)) for row in rows}


def keep_document(document: WorkflowDocument) -> Mapping[str, Any]:
    """As a row keeps it: JSON by the contract's own names."""
    kept: Mapping[str, Any] = json_format.MessageToDict(document, preserving_proto_field_name=True)
    return kept


def parse_document(kept: Mapping[str, Any]) -> WorkflowDocument:
    """As `keep_document` made it."""
    return json_format.ParseDict(dict(kept), WorkflowDocument())
