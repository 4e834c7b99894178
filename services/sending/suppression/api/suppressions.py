"""SuppressionService and SuppressionAdminService: decode, call the domain, encode."""

from collections.abc import Sequence

from google.protobuf.empty_pb2 import Empty

from chassis.audited_acts import Facts, act_of
from chassis.context import RequestContext
from chassis.database import Database, TenantSession
from chassis.errors import FieldViolation, InvalidRequest
from chassis.identifiers import parse_id
from chassis.pagination import decode_cursor, next_cursor, page_size
from flownurture.audit.v1.acts_pb2 import AuditedAct
from flownurture.context.v1.context_pb2 import Actor
from flownurture.sending.v1.messages_pb2 import SUPPRESSION_REASON_MANUAL
from flownurture.suppression.v1 import suppressions_pb2 as pb
from flownurture.suppression.v1.events_pb2 import SuppressionActCommitted
from services.sending.api.addresses import address_of
from services.sending.api.operators import within
from services.sending.api.statuses import reason_filter, suppression_reason
from services.sending.statuses import SuppressionReason
from services.sending.suppression import suppressions
from services.sending.suppression.api.periods import period_of
from services.sending.suppression.identity_peer import IdentityPeer
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


class SuppressionAdminApi:
    """What operators see of an organization's list, one address at a time."""

    service = pb.DESCRIPTOR.services_by_name["SuppressionAdminService"]

    def __init__(self, database: Database, identity: IdentityPeer) -> None:
        self._database = database
        self._identity = identity

    async def check_suppression(
        self, request: pb.CheckSuppressionRequest, context: RequestContext
    ) -> pb.CheckSuppressionResponse:
        """Why an address is on the list, if it is; NOT_FOUND when there is no such organization."""
        address = address_of("email", request.email)
        theirs = within(context, request.organization_id)
        # Of an organization that does not exist, nobody would be on the list.
        await self._identity.require(theirs)
        async with self._database.tenant_transaction(theirs) as session:
            found = await page_suppressions(
                session, Wanted(address=address), before=None, size=len(SuppressionReason)
            )
            _tell_read(session, found)
        return pb.CheckSuppressionResponse(suppressed=bool(found), suppressions=map(_as_message, found))


def _tell_read(session: TenantSession, found: Sequence[Suppression]) -> None:
    """Tell the audit trail which entries were read. Not whose: it is kept for good."""
    read: Facts = {"what": "suppressions", "suppression_ids": [str(entry.id) for entry in found]}
    act = act_of(session.context, AuditedAct.KIND_OPERATOR_READ, session.context.organization, after=read)
    session.publish(SuppressionActCommitted(act=act))


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
