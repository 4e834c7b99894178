"""BulkChangeService: decode, call the domain, encode."""

from collections.abc import Callable

from chassis.context import RequestContext
from chassis.database import TenantSession
from chassis.errors import FieldViolation, InvalidRequest
from chassis.identifiers import parse_id
from chassis.pagination import decode_cursor, next_cursor, page_size
from flownurture.contacts.v1 import bulk_changes_pb2 as pb
from services.contacts import bulk_changes, segments
from services.contacts.api.fields import ids_of
from services.contacts.api.rules import document_of
from services.contacts.bulk_changes import Action, Audience
from services.contacts.jobs import JobStatus

_STATUSES = {
    status.value: pb.BulkChangeStatus.Value(f"BULK_CHANGE_STATUS_{status.name}") for status in JobStatus
}
_TARGETS = {
    "add_to_list_id": Action.ADD_TO_LIST,
    "remove_from_list_id": Action.REMOVE_FROM_LIST,
    "add_tag_id": Action.ADD_TAG,
    "remove_tag_id": Action.REMOVE_TAG,
}
_FIELD_OF = {action.value: field for field, action in _TARGETS.items()} | {
    Action.FORGET_FIELD.value: "forget_custom_field_id"
}


class BulkChangeApi:
    """Lists and tags of many contacts at once; `begun` is called after each change that has been taken in."""

    service = pb.DESCRIPTOR.services_by_name["BulkChangeService"]

    def __init__(self, begun: Callable[[], None]) -> None:
        self._begun = begun

    async def create_bulk_change(
        self, request: pb.CreateBulkChangeRequest, context: RequestContext, session: TenantSession
    ) -> pb.BulkChange:
        """Begin a change. NOT_FOUND for a segment, list, tag or contact that is not there."""
        target = request.WhichOneof("change")
        if target is None or not getattr(request, target):
            raise InvalidRequest(FieldViolation("change", f"must be exactly one of {', '.join(_TARGETS)}"))
        begun = await bulk_changes.create_bulk_change(
            session, _TARGETS[target], parse_id(getattr(request, target)), await _audience(request, session)
        )
        self._begun()
        return _as_message(begun)

    async def get_bulk_change(
        self, request: pb.GetBulkChangeRequest, context: RequestContext, session: TenantSession
    ) -> pb.BulkChange:
        """How far the change is, or NOT_FOUND."""
        return _as_message(await bulk_changes.get_bulk_change(session, parse_id(request.bulk_change_id)))

    async def list_bulk_changes(
        self, request: pb.ListBulkChangesRequest, context: RequestContext, session: TenantSession
    ) -> pb.ListBulkChangesResponse:
        """Changes, newest first."""
        size = page_size(request.page_size)
        found = await bulk_changes.page_bulk_changes(
            session, before=decode_cursor(request.page_token), size=size + 1
        )
        return pb.ListBulkChangesResponse(
            bulk_changes=map(_as_message, found[:size]), next_page_token=next_cursor(found, size)
        )


async def _audience(request: pb.CreateBulkChangeRequest, session: TenantSession) -> Audience:
    given = [request.HasField("rule"), bool(request.segment_id), bool(request.contact_ids)]
    if given.count(True) != 1:
        raise InvalidRequest(
            FieldViolation("rule", "must be given, or else segment_id or contact_ids, and only one of them")
        )
    if request.contact_ids:
        return Audience(contact_ids=ids_of(request.contact_ids))
    if request.segment_id:
        segment = await segments.get_segment(session, parse_id(request.segment_id))
        return Audience(rule=await segments.usable(session, segment))
    return Audience(rule=await segments.checked(session, document_of(request.rule)))


def _as_message(change: bulk_changes.BulkChange) -> pb.BulkChange:
    message = pb.BulkChange(
        id=str(change.id),
        status=_STATUSES[change.status],
        total_contacts=change.total_contacts,
        processed_contacts=change.processed_contacts,
        changed_contacts=change.changed_contacts,
        failure=change.failure,
    )
    setattr(message, _FIELD_OF[change.action], str(change.target_id))
    message.created_at.FromDatetime(change.created_at)
    if change.completed_at is not None:
        message.completed_at.FromDatetime(change.completed_at)
    return message
