"""WebhookDirectoryService: which endpoints other processes may name."""

from chassis.context import RequestContext
from chassis.database import TenantSession
from chassis.identifiers import parse_id
from flownurture.webhooks.v1 import directory_pb2 as pb
from services.webhooks.endpoints import find_endpoints


class WebhookDirectoryApi:
    """Answers sending."""

    service = pb.DESCRIPTOR.services_by_name["WebhookDirectoryService"]

    async def find_endpoints(
        self, request: pb.FindEndpointsRequest, context: RequestContext, session: TenantSession
    ) -> pb.FindEndpointsResponse:
        """Those of the ids that are endpoints of the context's organization."""
        found = await find_endpoints(session, list(map(parse_id, request.endpoint_ids)))
        return pb.FindEndpointsResponse(endpoint_ids=map(str, found))
