"""WebhookUsageService: how much of its plan an organization has used."""

from chassis.context import RequestContext
from chassis.database import TenantSession
from flownurture.webhooks.v1 import usage_pb2 as pb
from services.webhooks import usage


class WebhookUsageApi:
    """Answers identity."""

    service = pb.DESCRIPTOR.services_by_name["WebhookUsageService"]

    async def count_endpoints(
        self, request: pb.CountEndpointsRequest, context: RequestContext, session: TenantSession
    ) -> pb.CountEndpointsResponse:
        """The endpoints of the context's organization."""
        return pb.CountEndpointsResponse(endpoints=await usage.held(session))
