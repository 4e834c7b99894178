"""The identity process as the sending process asks it."""

from datetime import UTC

from chassis.context import RequestContext
from chassis.rpc.client import Peer
from flownurture.identity.v1.plans_pb2 import GetEntitlementsRequest
from flownurture.identity.v1.plans_pb2_grpc import EntitlementServiceStub
from services.sending.usage import Allowance


class IdentityPeer:
    """Allowances by a call to EntitlementService."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    async def of(self, context: RequestContext) -> Allowance:
        """What the plan of the context's organization allows now. Raises Unavailable."""
        entitlements = EntitlementServiceStub(self._peer.channel)
        answer = await self._peer.call(
            entitlements.GetEntitlements,
            GetEntitlementsRequest(),
            RequestContext.of_process("sending", context.organization, request_id=context.request_id),
        )
        return Allowance(answer.limits["emails_per_cycle"], answer.cycle_started_at.ToDatetime(UTC))
