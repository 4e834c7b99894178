"""The identity process as the contacts process asks it, for those who come without a credential."""

from dataclasses import replace

from chassis.context import RequestContext
from chassis.errors import PermissionDenied
from chassis.rpc.client import Peer
from flownurture.identity.v1.plans_pb2 import GetEntitlementsRequest
from flownurture.identity.v1.plans_pb2_grpc import EntitlementServiceStub


class IdentityPeer:
    """What an organization's plan allows, by a call to EntitlementService."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    async def with_limits(self, context: RequestContext) -> RequestContext:
        """The context, with the limits of its organization's plan.

        Raises Unavailable, and PermissionDenied for an organization that is suspended.
        """
        entitlements = EntitlementServiceStub(self._peer.channel)
        answer = await self._peer.call(
            entitlements.GetEntitlements,
            GetEntitlementsRequest(),
            RequestContext.of_process("contacts", context.organization, request_id=context.request_id),
        )
        if answer.suspended:
            raise PermissionDenied("The organization is suspended.", reason="ORGANIZATION_SUSPENDED")
        return replace(context, limits=tuple(sorted(answer.limits.items())))
