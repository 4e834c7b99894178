"""MessageTraceAdminService: decode, call the domain, encode."""

from chassis.audited_acts import act_of
from chassis.context import RequestContext
from chassis.database import Database, TenantSession
from chassis.identifiers import parse_id
from flownurture.audit.v1.acts_pb2 import AuditedAct
from flownurture.sending.v1 import message_traces_pb2 as pb
from flownurture.sending.v1.events_pb2 import SendingActCommitted
from services.sending.api.categories import message_category
from services.sending.api.operators import within
from services.sending.api.statuses import message_status
from services.sending.message_trace import Entry, Trace, trace_of


class MessageTraceAdminApi:
    """What operators see of a message of an organization: where it is, and how it came there."""

    service = pb.DESCRIPTOR.services_by_name["MessageTraceAdminService"]

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get_message_trace(
        self, request: pb.GetMessageTraceRequest, context: RequestContext
    ) -> pb.MessageTrace:
        """The message's way, or NOT_FOUND."""
        theirs = within(context, request.organization_id)
        async with self._database.tenant_transaction(theirs) as session:
            trace = await trace_of(session, parse_id(request.message_id))
            _tell_read(session, trace)
        return _as_message(trace)


def _tell_read(session: TenantSession, trace: Trace) -> None:
    read = {"what": "message_trace"}
    act = act_of(session.context, AuditedAct.KIND_OPERATOR_READ, trace.message_id, after=read)
    session.publish(SendingActCommitted(act=act))


def _as_message(trace: Trace) -> pb.MessageTrace:
    message = pb.MessageTrace(
        message_id=str(trace.message_id),
        campaign_id=str(trace.campaign_id or ""),
        workflow_mail_id=str(trace.workflow_mail_id or ""),
        category=message_category(trace.category),
        status=message_status(trace.status),
        attempts=trace.attempts,
        entries=map(_as_entry, trace.entries),
    )
    if trace.next_attempt_at is not None:
        message.next_attempt_at.FromDatetime(trace.next_attempt_at)
    return message


def _as_entry(entry: Entry) -> pb.MessageTraceEntry:
    stage = pb.MessageStage.Value(f"MESSAGE_STAGE_{entry.stage.name}")
    encoded = pb.MessageTraceEntry(stage=stage, detail=entry.detail)
    if entry.is_timed:
        encoded.at.FromDatetime(entry.at)
    return encoded
