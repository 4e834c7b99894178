"""The identity process as the sending process asks it."""

from datetime import UTC, timedelta

from chassis.context import RequestContext
from chassis.errors import Unavailable
from chassis.rpc.client import Peer
from flownurture.identity.v1.plans_pb2 import GetEntitlementsRequest, GetEntitlementsResponse
from flownurture.identity.v1.plans_pb2_grpc import EntitlementServiceStub
from services.sending.usage import Allowance


class IdentityPeer:
    """What plans allow, by a call to EntitlementService."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    async def of(self, context: RequestContext) -> Allowance:
        """What the plan of the context's organization allows now. Raises Unavailable."""
        answer = await self._entitlements(context)
        return Allowance(answer.limits["emails_per_cycle"], answer.cycle_started_at.ToDatetime(UTC))

    async def features(self, context: RequestContext) -> frozenset[str]:
        """The features of its plan. Raises NotFound when there is no such organization, Unavailable."""
        return frozenset((await self._entitlements(context)).features)

    async def event_retention(self, context: RequestContext) -> timedelta:
        """How old events become on the plan of the context's organization. Raises Unavailable."""
        limits = (await self._entitlements(context)).limits
        # An identity that does not say it, as an older one does not, has not said zero.
        if "event_retention_days" not in limits:
            raise Unavailable("How long events are kept cannot be told at the moment.")
        return timedelta(days=limits["event_retention_days"])

    async def _entitlements(self, context: RequestContext) -> GetEntitlementsResponse:
        answer: GetEntitlementsResponse = await self._peer.call(
            EntitlementServiceStub(self._peer.channel).GetEntitlements,
            GetEntitlementsRequest(),
            RequestContext.of_process("sending", context.organization, request_id=context.request_id),
        )
        return answer
