"""The part of the identity service that contacts asks, served over real gRPC."""

from uuid import UUID

from chassis.context import RequestContext
from chassis.errors import Unavailable
from flownurture.identity.v1 import plans_pb2 as pb

PLENTY = 1_000_000


class Plan:
    """How many contacts each organization may hold: plenty, unless a test says otherwise."""

    service = pb.DESCRIPTOR.services_by_name["EntitlementService"]

    def __init__(self) -> None:
        self.down = False
        self.suspended: set[UUID] = set()
        self._contacts: dict[UUID, int] = {}

    def allow(self, organization: UUID, contacts: int) -> None:
        """Put an organization on a plan."""
        self._contacts[organization] = contacts

    async def get_entitlements(
        self, request: pb.GetEntitlementsRequest, context: RequestContext
    ) -> pb.GetEntitlementsResponse:
        """The plan of the context's organization."""
        if self.down:
            raise Unavailable
        contacts = self._contacts.get(context.organization, PLENTY)
        return pb.GetEntitlementsResponse(
            limits={"contacts": contacts}, suspended=context.organization in self.suspended
        )
