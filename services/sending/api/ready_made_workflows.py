"""ReadyMadeWorkflowService: decode, call the domain, encode."""

from chassis.context import RequestContext
from chassis.database import Database, TenantSession
from chassis.pagination import decode_cursor, next_cursor, page_size
from flownurture.sending.v1 import ready_made_workflows_pb2 as pb
from flownurture.sending.v1 import workflow_service_pb2
from services.sending.api.asked_first import AskedFirst
from services.sending.api.workflows import as_message
from services.sending.workflows import lifecycle
from services.sending.workflows.checks import Checks, Findings, require_good
from services.sending.workflows.ready_made.catalog import ReadyMade, get_ready_made, page_ready_made

_FIELDS = ("from_email", "from_name", "list_id", "tag_id", "segment_id", "custom_field", "website")


class ReadyMadeWorkflowApi:
    """Workflows to begin with."""

    service = pb.DESCRIPTOR.services_by_name["ReadyMadeWorkflowService"]

    def __init__(self, database: Database, checks: Checks) -> None:
        self._database = database
        self._checks = checks

    async def list_ready_made_workflows(
        self, request: pb.ListReadyMadeWorkflowsRequest, context: RequestContext
    ) -> pb.ListReadyMadeWorkflowsResponse:
        """All there are, in their order."""
        size = page_size(request.page_size)
        found = page_ready_made(after=decode_cursor(request.page_token), size=size + 1)
        return pb.ListReadyMadeWorkflowsResponse(
            ready_made_workflows=map(_as_message, found[:size]), next_page_token=next_cursor(found, size)
        )

    async def copy_ready_made_workflow(
        self, request: pb.CopyReadyMadeWorkflowRequest, context: RequestContext
    ) -> workflow_service_pb2.Workflow:
        """Make a draft of one. NOT_FOUND, INVALID for what is missing or not there, CONFLICT as CreateWorkflow."""
        ready_made = get_ready_made(request.name)
        document = ready_made.filled({field: getattr(request, field) for field in _FIELDS})

        async def make(session: TenantSession, found: Findings) -> workflow_service_pb2.Workflow:
            await require_good(session, document, found)
            return as_message(await lifecycle.create_workflow(session, ready_made.title, document))

        method = self.service.methods_by_name["CopyReadyMadeWorkflow"]
        asked = AskedFirst(self._database, context, method, request)
        return await asked.answer(lambda: self._checks.look_at(context, document), make)


def _as_message(ready_made: ReadyMade) -> pb.ReadyMadeWorkflow:
    return pb.ReadyMadeWorkflow(
        name=ready_made.name,
        title=ready_made.title,
        description=ready_made.description,
        needs=[
            pb.ReadyMadeNeed(name=name, description=description)
            for name, description in ready_made.needs.items()
        ],
        document=ready_made.shown,
    )
