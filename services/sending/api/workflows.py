"""WorkflowService: decode, call the domain, encode."""

from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from chassis.context import RequestContext
from chassis.database import Database, TenantSession
from chassis.errors import FieldViolation, InvalidRequest
from chassis.identifiers import parse_id
from chassis.pagination import decode_cursor, next_cursor, page_size
from flownurture.sending.v1 import workflow_service_pb2 as pb
from flownurture.sending.v1.workflows_pb2 import WorkflowDocument
from services.sending.api.asked_first import AskedFirst
from services.sending.workflows import lifecycle
from services.sending.workflows.checks import Checks, Findings, require_good
from services.sending.workflows.lifecycle import KeptVersion, Workflow, WorkflowStatus

_PARTS = ("trigger", "steps", "goal", "exit_when", "re_enrollment")


class WorkflowApi:
    """Workflows and the versions of their documents."""

    service = pb.DESCRIPTOR.services_by_name["WorkflowService"]

    def __init__(self, database: Database, checks: Checks) -> None:
        self._database = database
        self._checks = checks

    async def create_workflow(
        self, request: pb.CreateWorkflowRequest, context: RequestContext
    ) -> pb.Workflow:
        """Create a draft. INVALID for a document that is not good, CONFLICT beyond what there may be."""
        document = document_of(request)

        async def make(session: TenantSession, found: Findings) -> pb.Workflow:
            await require_good(session, document, found)
            return as_message(await lifecycle.create_workflow(session, request.name, document))

        asked = AskedFirst(self._database, context, self.service.methods_by_name["CreateWorkflow"], request)
        return await asked.answer(lambda: self._checks.look_at(context, document), make)

    async def get_workflow(
        self, request: pb.GetWorkflowRequest, context: RequestContext, session: TenantSession
    ) -> pb.Workflow:
        """The workflow, or NOT_FOUND."""
        return as_message(await lifecycle.get_workflow(session, parse_id(request.workflow_id)))

    async def list_workflows(
        self, request: pb.ListWorkflowsRequest, context: RequestContext, session: TenantSession
    ) -> pb.ListWorkflowsResponse:
        """Workflows, newest first, without their steps."""
        size = page_size(request.page_size)
        found = await lifecycle.page_workflows(
            session,
            before=decode_cursor(request.page_token),
            size=size + 1,
            status=_status_filter(request.status),
        )
        return pb.ListWorkflowsResponse(
            workflows=map(as_message, found[:size]), next_page_token=next_cursor(found, size)
        )

    async def update_workflow(
        self, request: pb.UpdateWorkflowRequest, context: RequestContext
    ) -> pb.Workflow:
        """Change what is given; NOT_FOUND, INVALID as CreateWorkflow, CONFLICT when it is archived or was changed meanwhile."""
        workflow_id = parse_id(request.workflow_id)
        name = request.name if request.HasField("name") else None
        async with self._database.tenant_transaction(context, read_only=True) as session:
            seen = await lifecycle.get_workflow(session, workflow_id)
        document = _changed(seen.document, request)
        if document == seen.document and name is not None:
            async with self._database.tenant_transaction(context) as session:
                return as_message(await lifecycle.rename_workflow(session, workflow_id, name))
        found = await self._checks.look_at(context, document)
        async with self._database.tenant_transaction(context) as session:
            await require_good(session, document, found)
            return as_message(await lifecycle.change_document(session, seen, document, name))

    async def delete_workflow(
        self, request: pb.DeleteWorkflowRequest, context: RequestContext, session: TenantSession
    ) -> Empty:
        """Delete a draft; NOT_FOUND, or CONFLICT once it was active."""
        await lifecycle.delete_workflow(session, parse_id(request.workflow_id))
        return Empty()

    async def activate_workflow(
        self, request: pb.ActivateWorkflowRequest, context: RequestContext
    ) -> pb.Workflow:
        """Let it run, once however often it is asked; NOT_FOUND, INVALID when the draft is not good, CONFLICT when it is archived."""
        workflow_id = parse_id(request.workflow_id)
        async with self._database.tenant_transaction(context, read_only=True) as session:
            seen = await lifecycle.get_workflow(session, workflow_id)
        found = await self._checks.look_at(context, seen.document) if seen.is_draft else None
        async with self._database.tenant_transaction(context) as session:
            if found is not None:
                await require_good(session, seen.document, found)
            return as_message(await lifecycle.activate_workflow(session, seen))

    async def pause_workflow(
        self, request: pb.PauseWorkflowRequest, context: RequestContext, session: TenantSession
    ) -> pb.Workflow:
        """Hold it, once however often it is asked; NOT_FOUND, or CONFLICT when it does not run."""
        return as_message(await lifecycle.pause_workflow(session, parse_id(request.workflow_id)))

    async def archive_workflow(
        self, request: pb.ArchiveWorkflowRequest, context: RequestContext, session: TenantSession
    ) -> pb.Workflow:
        """End it, once however often it is asked; NOT_FOUND, or CONFLICT for a draft."""
        return as_message(await lifecycle.archive_workflow(session, parse_id(request.workflow_id)))

    async def list_workflow_versions(
        self, request: pb.ListWorkflowVersionsRequest, context: RequestContext, session: TenantSession
    ) -> pb.ListWorkflowVersionsResponse:
        """The versions of its document, newest first, without their steps, or NOT_FOUND."""
        size = page_size(request.page_size)
        found = await lifecycle.page_versions(
            session,
            parse_id(request.workflow_id),
            before=decode_cursor(request.page_token),
            size=size + 1,
        )
        return pb.ListWorkflowVersionsResponse(
            versions=map(_version_message, found[:size]), next_page_token=next_cursor(found, size)
        )

    async def get_workflow_version(
        self, request: pb.GetWorkflowVersionRequest, context: RequestContext, session: TenantSession
    ) -> pb.WorkflowVersion:
        """One version, or NOT_FOUND."""
        found = await lifecycle.get_version(session, parse_id(request.workflow_id), request.number)
        return _version_message(found)


def document_of(request: pb.CreateWorkflowRequest) -> WorkflowDocument:
    """The document that a request gives."""
    document = WorkflowDocument()
    _take_parts(document, request)
    return document


def as_message(workflow: Workflow) -> pb.Workflow:
    """The contract's form of a workflow."""
    message = pb.Workflow(
        id=str(workflow.id),
        name=workflow.name,
        status=pb.WorkflowStatus.Value(f"WORKFLOW_STATUS_{workflow.status.name}"),
        version=workflow.version,
    )
    _take_parts(message, workflow.document)
    message.created_at.FromDatetime(workflow.created_at)
    message.updated_at.FromDatetime(workflow.updated_at)
    if workflow.activated_at is not None:
        message.activated_at.FromDatetime(workflow.activated_at)
    return message


def _version_message(version: KeptVersion) -> pb.WorkflowVersion:
    message = pb.WorkflowVersion(number=version.number)
    _take_parts(message, version.document)
    message.created_at.FromDatetime(version.created_at)
    return message


def _take_parts(taker: Message, giver: Message) -> None:
    """Let the taker have each part of a document that the giver has, in place of its own."""
    for field, value in giver.ListFields():
        if field.name not in _PARTS:
            continue
        taker.ClearField(field.name)
        if field.is_repeated:
            getattr(taker, field.name).extend(value)
        else:
            getattr(taker, field.name).CopyFrom(value)


def _changed(document: WorkflowDocument, request: pb.UpdateWorkflowRequest) -> WorkflowDocument:
    """The document as the request wants it. Raises InvalidRequest."""
    changed = WorkflowDocument()
    changed.CopyFrom(document)
    _take_parts(changed, request)
    given = {field.name for field, _ in request.ListFields()}
    for index, name in enumerate(map(_part_name, request.without)):
        if name in given:
            raise InvalidRequest(
                FieldViolation(f"without[{index}]", f"may not be given together with {name}")
            )
        _leave_out(changed, name)
    return changed


def _part_name(part: "pb.WorkflowPart.ValueType") -> str:
    return pb.WorkflowPart.Name(part).removeprefix("WORKFLOW_PART_").lower()


def _leave_out(document: Message, name: str) -> None:
    document.ClearField(name)


def _status_filter(status: "pb.WorkflowStatus.ValueType") -> WorkflowStatus | None:
    if status == pb.WORKFLOW_STATUS_UNSPECIFIED:
        return None
    return WorkflowStatus[pb.WorkflowStatus.Name(status).removeprefix("WORKFLOW_STATUS_")]
