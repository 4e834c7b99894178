"""Workflows, from the draft to the archive: a draft's document is overwritten, one that was ever active gets another version."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, RowMapping, Select, and_, delete, func, insert, select, update

from chassis.database import TenantSession
from chassis.errors import Conflict, NotFound
from chassis.identifiers import new_id
from flownurture.sending.v1 import workflows_pb2 as pb
from services.sending.tables import workflow_versions, workflows
from services.sending.workflow_mails import keep_mails
from services.sending.workflows.date_triggers import look_for_dates, look_no_more
from services.sending.workflows.listeners import changing_workflows, listen, listen_no_more
from services.sending.workflows.versions import keep_document, parse_document

MOST_WORKFLOWS = 200
MOST_VERSIONS = 100


class WorkflowStatus(StrEnum):
    """The life of a workflow."""

    DRAFT = "draft"
    ACTIVE = "active"
    # Nobody comes in, and whoever is in it takes no step.
    PAUSED = "paused"
    # Over for good.
    ARCHIVED = "archived"


@dataclass(frozen=True, slots=True)
class Workflow:
    """A workflow as its organization sees it."""

    id: UUID
    name: str
    status: WorkflowStatus
    # Of the newest version, as its document is.
    version: int
    document: pb.WorkflowDocument
    created_at: datetime
    updated_at: datetime
    activated_at: datetime | None

    @property
    def is_draft(self) -> bool:
        """Whether it was never active."""
        return self.status is WorkflowStatus.DRAFT


@dataclass(frozen=True, slots=True)
class KeptVersion:
    """A document of a workflow, by its number, which rises from 1."""

    number: int
    document: pb.WorkflowDocument
    created_at: datetime

    @property
    def id(self) -> UUID:
        """By which versions come in pages."""
        return UUID(int=self.number)


# Documents have up to some million characters each: a page of them would be too much.
_TRIGGER = func.jsonb_build_object("trigger", workflow_versions.c.document["trigger"]).label("document")


def _workflows(document: ColumnElement[Any]) -> Select[Any]:
    newest = and_(
        workflow_versions.c.organization_id == workflows.c.organization_id,
        workflow_versions.c.workflow_id == workflows.c.id,
        workflow_versions.c.number == workflows.c.version,
    )
    return select(workflows, document).join(workflow_versions, newest)


async def create_workflow(session: TenantSession, name: str, document: pb.WorkflowDocument) -> Workflow:
    """Create a draft of a document that was checked. Raises Conflict beyond `MOST_WORKFLOWS` that are not archived."""
    workflow_id = new_id()
    async with changing_workflows(session):
        kept = select(func.count()).where(workflows.c.status != WorkflowStatus.ARCHIVED.value)
        if await session.scalar(kept) >= MOST_WORKFLOWS:
            raise Conflict(
                f"An organization has at most {MOST_WORKFLOWS} workflows that are not archived: archive or delete one first."
            )
        await session.execute(
            insert(workflows).values(id=workflow_id, name=name, status=WorkflowStatus.DRAFT.value, version=1)
        )
        await _add_version(session, workflow_id, 1, document)
    return await get_workflow(session, workflow_id)


async def get_workflow(session: TenantSession, workflow_id: UUID) -> Workflow:
    """The workflow with its newest document. Raises NotFound."""
    found = await session.execute(
        _workflows(workflow_versions.c.document).where(workflows.c.id == workflow_id)
    )
    row = found.mappings().one_or_none()
    if row is None:
        raise _no_such(workflow_id)
    return _workflow(row)


async def page_workflows(
    session: TenantSession, *, before: UUID | None, size: int, status: WorkflowStatus | None
) -> list[Workflow]:
    """Up to `size` workflows of this status, newest first, older than `before`, with no more of their documents than the trigger."""
    wanted = _workflows(_TRIGGER).order_by(workflows.c.id.desc()).limit(size)
    if before is not None:
        wanted = wanted.where(workflows.c.id < before)
    if status is not None:
        wanted = wanted.where(workflows.c.status == status.value)
    return [_workflow(row) for row in (await session.execute(wanted)).mappings()]


async def rename_workflow(session: TenantSession, workflow_id: UUID, name: str) -> Workflow:
    """Give it another name. Raises NotFound, Conflict when it is archived."""
    _require_open(await _hold(session, workflow_id))
    await _set(session, workflow_id, name=name)
    return await get_workflow(session, workflow_id)


async def change_document(
    session: TenantSession, seen: Workflow, document: pb.WorkflowDocument, name: str | None
) -> Workflow:
    """Give a workflow that was seen another document, which was checked: a draft in place of its own, others as a new version.

    Raises NotFound, InvalidRequest for its mails, Conflict when it is archived, has `MOST_VERSIONS` already, or is not as it was seen.
    """
    renamed = {} if name is None else {"name": name}
    async with changing_workflows(session):
        _require_unchanged(await _hold(session, seen.id), seen)
        if document == seen.document:
            await _set(session, seen.id, **renamed)
        elif seen.is_draft:
            await session.execute(
                update(workflow_versions)
                .where(workflow_versions.c.workflow_id == seen.id, workflow_versions.c.number == 1)
                .values(document=keep_document(document), created_at=func.now())
            )
            await _set(session, seen.id, **renamed)
        else:
            await _begin_version(session, seen, document, renamed)
    return await get_workflow(session, seen.id)


async def delete_workflow(session: TenantSession, workflow_id: UUID) -> None:
    """Delete a draft. Raises NotFound, or Conflict once it was active."""
    if WorkflowStatus((await _hold(session, workflow_id))["status"]) is not WorkflowStatus.DRAFT:
        raise Conflict("Only a draft can be deleted: a workflow that was active is archived.")
    await session.execute(delete(workflows).where(workflows.c.id == workflow_id))


async def activate_workflow(session: TenantSession, seen: Workflow) -> Workflow:
    """Let a draft that was seen, and checked, run; or one that is paused go on. Activating it again changes nothing.

    Raises NotFound, InvalidRequest for its mails, Conflict when it is archived or no longer the draft that was seen.
    """
    async with changing_workflows(session):
        held = await _hold(session, seen.id)
        _require_open(held)
        if WorkflowStatus(held["status"]) is WorkflowStatus.DRAFT:
            _require_unchanged(held, seen)
            await keep_mails(session, seen.id, seen.version, seen.document)
            await listen(session, seen.id, seen.version, seen.document)
        if held["status"] != WorkflowStatus.ACTIVE:
            first = func.coalesce(workflows.c.activated_at, func.now())
            await _set(session, seen.id, status=WorkflowStatus.ACTIVE.value, activated_at=first)
            # Whose date came while nobody could come in does not come in later.
            await look_for_dates(session, seen.id, seen.document, anew=True)
    return await get_workflow(session, seen.id)


async def pause_workflow(session: TenantSession, workflow_id: UUID) -> Workflow:
    """Hold it. Pausing it again changes nothing. Raises NotFound, Conflict for a draft or when it is archived."""
    async with changing_workflows(session):
        held = await _hold(session, workflow_id)
        _require_open(held)
        if held["status"] == WorkflowStatus.DRAFT:
            raise Conflict("A draft cannot be paused: it does not run.")
        if held["status"] == WorkflowStatus.ACTIVE:
            await _set(session, workflow_id, status=WorkflowStatus.PAUSED.value)
    return await get_workflow(session, workflow_id)


async def archive_workflow(session: TenantSession, workflow_id: UUID) -> Workflow:
    """End it for good. Archiving it again changes nothing. Raises NotFound, Conflict for a draft."""
    async with changing_workflows(session):
        held = await _hold(session, workflow_id)
        if held["status"] == WorkflowStatus.DRAFT:
            raise Conflict("A draft cannot be archived: delete it.")
        if held["status"] != WorkflowStatus.ARCHIVED:
            await listen_no_more(session, workflow_id)
            await look_no_more(session, workflow_id)
            await _set(session, workflow_id, status=WorkflowStatus.ARCHIVED.value)
    return await get_workflow(session, workflow_id)


async def page_versions(
    session: TenantSession, workflow_id: UUID, *, before: UUID | None, size: int
) -> list[KeptVersion]:
    """Up to `size` versions, newest first, older than `before`, with no more of their documents than the trigger. Raises NotFound."""
    await _require_workflow(session, workflow_id)
    wanted = (
        select(workflow_versions.c.number, _TRIGGER, workflow_versions.c.created_at)
        .where(workflow_versions.c.workflow_id == workflow_id)
        .order_by(workflow_versions.c.number.desc())
        .limit(size)
    )
    if before is not None:
        wanted = wanted.where(workflow_versions.c.number < min(before.int, MOST_VERSIONS + 1))
    return [_version(row) for row in (await session.execute(wanted)).mappings()]


async def get_version(session: TenantSession, workflow_id: UUID, number: int) -> KeptVersion:
    """One version. Raises NotFound."""
    await _require_workflow(session, workflow_id)
    found = await session.execute(
        select(
            workflow_versions.c.number, workflow_versions.c.document, workflow_versions.c.created_at
        ).where(workflow_versions.c.workflow_id == workflow_id, workflow_versions.c.number == number)
    )
    row = found.mappings().one_or_none()
    if row is None:
        raise NotFound(f"version as {number}")
    return _version(row)


async def _begin_version(
    session: TenantSession, seen: Workflow, document: pb.WorkflowDocument, renamed: Mapping[str, Any]
) -> None:
    number = seen.version + 1
    if number > MOST_VERSIONS:
        raise Conflict(f"A workflow has at most {MOST_VERSIONS} versions: go on with a new workflow.")
    await _add_version(session, seen.id, number, document)
    await keep_mails(session, seen.id, number, document)
    await listen(session, seen.id, number, document)
    await look_for_dates(session, seen.id, document, anew=False)
    await _set(session, seen.id, version=number, **renamed)


async def _add_version(
    session: TenantSession, workflow_id: UUID, number: int, document: pb.WorkflowDocument
) -> None:
    await session.execute(
        insert(workflow_versions).values(
            workflow_id=workflow_id, number=number, document=keep_document(document)
        )
    )


async def _hold(session: TenantSession, workflow_id: UUID) -> RowMapping:
    """The workflow's row, which nobody else changes until the transaction ends. Raises NotFound."""
    held = await session.execute(select(workflows).where(workflows.c.id == workflow_id).with_for_update())
    row = held.mappings().one_or_none()
    if row is None:
        raise _no_such(workflow_id)
    return row


async def _set(session: TenantSession, workflow_id: UUID, **changes: Any) -> None:
    await session.execute(
        update(workflows)
        .where(workflows.c.id == workflow_id)
        .values(**changes, updated_at=func.clock_timestamp())
    )


async def _require_workflow(session: TenantSession, workflow_id: UUID) -> None:
    if await session.scalar(select(workflows.c.id).where(workflows.c.id == workflow_id)) is None:
        raise _no_such(workflow_id)


def _require_open(held: RowMapping) -> None:
    if held["status"] == WorkflowStatus.ARCHIVED:
        raise Conflict("The workflow is archived.")


def _require_unchanged(held: RowMapping, seen: Workflow) -> None:
    _require_open(held)
    # What was checked meanwhile was the document that was seen.
    if held["updated_at"] != seen.updated_at:
        raise Conflict("The workflow was changed at the same time: look at it and try again.")


def _no_such(workflow_id: UUID) -> NotFound:
    return NotFound(f"workflow as {workflow_id}")


def _workflow(row: RowMapping) -> Workflow:
    return Workflow(
        id=row["id"],
        name=row["name"],
        status=WorkflowStatus(row["status"]),
        version=row["version"],
        document=parse_document(row["document"]),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        activated_at=row["activated_at"],
    )


def _version(row: RowMapping) -> KeptVersion:
    return KeptVersion(row["number"], parse_document(row["document"]), row["created_at"])
