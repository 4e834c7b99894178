"""The identity process as this one asks it, where no credential has brought the plan along."""

from chassis.context import RequestContext
from chassis.rpc.client import Peer
from flownurture.identity.v1.plans_pb2 import GetEntitlementsRequest
from flownurture.identity.v1.plans_pb2_grpc import EntitlementServiceStub

FEATURE = "crm_integrations"


class IdentityPeer:
    """What an organization's plan includes, by a call to EntitlementService."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    async def may_connect(self, context: RequestContext) -> bool:
        """Whether anything may be done with CRMs for the context's organization now. Raises Unavailable."""
        answer = await self._peer.call(
            EntitlementServiceStub(self._peer.channel).GetEntitlements,
            GetEntitlementsRequest(),
            RequestContext.of_process("integrations", context.organization, request_id=context.request_id),
        )
        return FEATURE in answer.features and not answer.suspended
