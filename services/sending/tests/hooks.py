"""The part of the webhooks service that sending asks, served over real gRPC."""

from uuid import UUID

from chassis.context import RequestContext
from flownurture.webhooks.v1 import directory_pb2 as pb


class Hooks:
    """Endpoints as a test makes them up."""

    service = pb.DESCRIPTOR.services_by_name["WebhookDirectoryService"]

    def __init__(self) -> None:
        self._endpoints: set[tuple[UUID, str]] = set()

    def add(self, organization: UUID, endpoint_id: str) -> None:
        """Let there be an endpoint."""
        self._endpoints.add((organization, endpoint_id))

    async def find_endpoints(
        self, request: pb.FindEndpointsRequest, context: RequestContext
    ) -> pb.FindEndpointsResponse:
        """Those of them that are endpoints of the context's organization."""
        found = [each for each in request.endpoint_ids if (context.organization, each) in self._endpoints]
        return pb.FindEndpointsResponse(endpoint_ids=found)
