"""`AuditService`: the organization's audit trail, as its admins read it."""

from difflib import get_close_matches

from chassis.context import RequestContext
from chassis.database import TenantSession
from chassis.errors import FieldViolation, InvalidRequest
from chassis.pagination import decode_cursor, next_cursor, page_size
from flownurture.context.v1.context_pb2 import Actor
from flownurture.identity.v1 import audit_pb2 as pb
from flownurture.options.v1.access_pb2 import Role
from services.identity import audit
from services.identity.api.messages import timestamp
from services.identity.audit import Act, AuditEvent

_MOST_ALIKE = 5


class AuditService:
    """Reads the trail. Nothing here or anywhere changes it."""

    service = pb.DESCRIPTOR.services_by_name["AuditService"]

    async def list_audit_events(
        self, request: pb.ListAuditEventsRequest, context: RequestContext, session: TenantSession
    ) -> pb.ListAuditEventsResponse:
        """Audit events, newest first; InvalidRequest for an act that does not exist."""
        size = page_size(request.page_size)
        found = await audit.page(
            session,
            before=decode_cursor(request.page_token),
            size=size + 1,
            act=_act(request.act),
            actor_id=request.actor_id,
        )
        return pb.ListAuditEventsResponse(
            audit_events=[audit_event_message(event) for event in found[:size]],
            next_page_token=next_cursor(found, size),
        )


def audit_event_message(event: AuditEvent) -> pb.AuditEvent:
    """An event as clients see it, with the hash as it stands: whoever changed either shows."""
    message = pb.AuditEvent(
        id=str(event.id),
        sequence=event.sequence,
        occurred_at=timestamp(event.occurred_at),
        act=event.act,
        actor=Actor(kind=Actor.Kind.Value(f"KIND_{event.actor_kind}"), id=event.actor_id),
        role=Role.ROLE_UNSPECIFIED if event.role == "NONE" else Role.Value(f"ROLE_{event.role}"),
        client_address=event.client_address,
        target_id=str(event.target_id),
        request_id=event.request_id,
        hash=event.hash.hex(),
    )
    if event.before is not None:
        message.before.update(event.before)
    if event.after is not None:
        message.after.update(event.after)
    return message


def _act(asked: str) -> str:
    if asked and asked not in set(Act):
        # All of them are more than a refusal carries.
        alike = get_close_matches(asked, sorted(Act), n=_MOST_ALIKE, cutoff=0.0)
        raise InvalidRequest(FieldViolation("act", f"is no act; those most like it are {', '.join(alike)}"))
    return asked
