"""`OrganizationService`: the caller's own organization."""

from chassis.context import RequestContext
from chassis.database import TenantSession
from flownurture.identity.v1 import organization_pb2 as pb
from services.identity import organizations
from services.identity.api.messages import organization_message
from services.identity.clock import Clock
from services.identity.names import parse_name


class OrganizationService:
    """Read and rename an organization."""

    service = pb.DESCRIPTOR.services_by_name["OrganizationService"]

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def get_organization(
        self, request: pb.GetOrganizationRequest, context: RequestContext, session: TenantSession
    ) -> pb.Organization:
        """The caller's organization."""
        return organization_message(await organizations.get(session), self._clock())

    async def update_organization(
        self, request: pb.UpdateOrganizationRequest, context: RequestContext, session: TenantSession
    ) -> pb.Organization:
        """Change what the request holds, and nothing else."""
        if not request.HasField("name"):
            return organization_message(await organizations.get(session), self._clock())
        return organization_message(
            await organizations.rename(session, parse_name(request.name)), self._clock()
        )
