"""ReputationService and ReputationAdminService: decode, call the domain, encode."""

from datetime import UTC, datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp

from chassis.context import RequestContext
from chassis.database import Database, TenantSession
from chassis.errors import FieldViolation, InvalidRequest
from flownurture.context.v1.context_pb2 import Actor
from flownurture.options.v1.access_pb2 import Role
from flownurture.sending.v1 import reputation_pb2 as pb
from flownurture.sending.v1.events_pb2 import ReputationOverridden
from services.sending.api.moments import moment_of
from services.sending.api.operators import within
from services.sending.api.statuses import pause_reason
from services.sending.identity_peer import IdentityPeer
from services.sending.reputation import Reputation, override, reputation_of, thresholds
from services.sending.statuses import PauseReason

_LONGEST = timedelta(days=30)


class ReputationApi:
    """What an organization sees of its reputation."""

    service = pb.DESCRIPTOR.services_by_name["ReputationService"]

    async def get_reputation(
        self, request: pb.GetReputationRequest, context: RequestContext, session: TenantSession
    ) -> pb.Reputation:
        """The shares of the last 24 hours."""
        return _as_message(await reputation_of(session))


class ReputationAdminApi:
    """What operators see of it, and do about it."""

    service = pb.DESCRIPTOR.services_by_name["ReputationAdminService"]

    def __init__(self, database: Database, identity: IdentityPeer) -> None:
        self._database = database
        self._identity = identity

    async def get_organization_reputation(
        self, request: pb.GetOrganizationReputationRequest, context: RequestContext
    ) -> pb.Reputation:
        """The shares of the last 24 hours, or NOT_FOUND."""
        theirs = await self._known(context, request.organization_id)
        async with self._database.tenant_transaction(theirs, read_only=True) as session:
            return _as_message(await reputation_of(session))

    async def override_reputation(
        self, request: pb.OverrideReputationRequest, context: RequestContext
    ) -> pb.Reputation:
        """Let it send until then whatever the shares. NOT_FOUND, or INVALID for a time that is over or too far off."""
        until = moment_of(request, "overridden_until")
        now = datetime.now(UTC)
        if until is not None and not now < until <= now + _LONGEST:
            raise InvalidRequest(
                FieldViolation("overridden_until", f"must be to come, and within {_LONGEST.days} days")
            )
        theirs = await self._known(context, request.organization_id)
        async with self._database.tenant_transaction(theirs) as session:
            before = (await reputation_of(session)).overridden_until
            await override(session, until)
            _tell(session, before, until)
            return _as_message(await reputation_of(session))

    async def _known(self, context: RequestContext, organization_id: str) -> RequestContext:
        """The context within an organization that exists: of one that does not, everything would look fine."""
        theirs = within(context, organization_id)
        await self._identity.features(theirs)
        return theirs


def _tell(session: TenantSession, before: datetime | None, after: datetime | None) -> None:
    context = session.context
    session.publish(
        ReputationOverridden(
            before=_timestamp(before),
            after=_timestamp(after),
            actor=Actor(kind=Actor.Kind.ValueType(context.actor_kind.value), id=context.actor_id),
            role=Role.ValueType(context.role.value),
            client_address=context.client_address,
            request_id=context.request_id,
        )
    )


def _as_message(reputation: Reputation) -> pb.Reputation:
    limits = thresholds()
    return pb.Reputation(
        messages=reputation.messages,
        complaints=reputation.complaints,
        bounces=reputation.bounces,
        complaint_share=reputation.share(PauseReason.COMPLAINTS),
        bounce_share=reputation.share(PauseReason.BOUNCES),
        complaint_threshold=limits.shares[PauseReason.COMPLAINTS],
        bounce_threshold=limits.shares[PauseReason.BOUNCES],
        least_messages=limits.least_messages,
        at_risk=pause_reason(reputation.at_risk or ""),
        overridden_until=_timestamp(reputation.overridden_until),
    )


def _timestamp(moment: datetime | None) -> Timestamp | None:
    if moment is None:
        return None
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp
