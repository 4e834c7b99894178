"""The identity process as the suppression process asks it: whether there is an organization."""

from chassis.context import RequestContext
from chassis.rpc.client import Peer
from flownurture.identity.v1.plans_pb2 import GetEntitlementsRequest
from flownurture.identity.v1.plans_pb2_grpc import EntitlementServiceStub


class IdentityPeer:
    """What is asked by a call to EntitlementService, which knows of every organization what it may."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    async def require(self, theirs: RequestContext) -> None:
        """Raises NotFound when there is no organization as the context's, Unavailable."""
        await self._peer.call(
            EntitlementServiceStub(self._peer.channel).GetEntitlements,
            GetEntitlementsRequest(),
            RequestContext.of_process("suppression", theirs.organization, request_id=theirs.request_id),
        )
