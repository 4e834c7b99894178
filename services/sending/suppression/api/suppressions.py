"""SuppressionService: decode, call the domain, encode."""

from google.protobuf.empty_pb2 import Empty

from chassis.context import RequestContext
from chassis.database import TenantSession
from chassis.errors import FieldViolation, InvalidRequest
from chassis.identifiers import parse_id
from chassis.pagination import decode_cursor, next_cursor, page_size
from flownurture.context.v1.context_pb2 import Actor
from flownurture.sending.v1.messages_pb2 import SUPPRESSION_REASON_MANUAL
from flownurture.suppression.v1 import suppressions_pb2 as pb
from services.sending.api.addresses import address_of
from services.sending.api.statuses import reason_filter, suppression_reason
from services.sending.suppression import suppressions
from services.sending.suppression.api.periods import period_of
from services.sending.suppression.search import Suppression, Wanted, page_suppressions


class SuppressionApi:
    """The addresses that get no mail from an organization."""

    service = pb.DESCRIPTOR.services_by_name["SuppressionService"]

    async def create_suppression(
        self, request: pb.CreateSuppressionRequest, context: RequestContext, session: TenantSession
    ) -> pb.Suppression:
        """Add an address by hand; adding it again changes nothing."""
        if request.reason != SUPPRESSION_REASON_MANUAL:
            raise InvalidRequest(
                FieldViolation("reason", "must be manual: the others are facts the platform observes")
            )
        address = address_of("email", request.email)
        return _as_message(await suppressions.add_by_hand(session, address, request.note))

    async def list_suppressions(
        self, request: pb.ListSuppressionsRequest, context: RequestContext, session: TenantSession
    ) -> pb.ListSuppressionsResponse:
        """Suppressions, newest first."""
        size = page_size(request.page_size)
        found = await page_suppressions(
            session, _wanted(request), before=decode_cursor(request.page_token), size=size + 1
        )
        return pb.ListSuppressionsResponse(
            suppressions=map(_as_message, found[:size]),
            next_page_token=next_cursor(found, size),
        )

    async def delete_suppression(
        self, request: pb.DeleteSuppressionRequest, context: RequestContext, session: TenantSession
    ) -> Empty:
        """Lift a bounce or a manual entry; NOT_FOUND, or CONFLICT for an unsubscribe or complaint."""
        await suppressions.lift(session, parse_id(request.suppression_id))
        return Empty()


def _wanted(request: pb.ListSuppressionsRequest) -> Wanted:
    since, until = period_of(request)
    return Wanted(
        address=address_of("email", request.email) if request.email else None,
        search=request.search,
        reason=reason_filter("reason", request.reason),
        since=since,
        until=until,
    )


def _as_message(suppression: Suppression) -> pb.Suppression:
    message = pb.Suppression(
        id=str(suppression.id),
        email=suppression.email,
        reason=suppression_reason(suppression.reason),
        note=suppression.note,
        message_id=str(suppression.message_id or ""),
        rule=suppression.rule,
        source=suppression.source,
        report_id=str(suppression.report_id or ""),
    )
    message.created_at.FromDatetime(suppression.created_at)
    if suppression.actor_kind:
        kind = Actor.Kind.Value(f"KIND_{suppression.actor_kind}")
        message.added_by.CopyFrom(Actor(kind=kind, id=suppression.actor_id))
    return message
