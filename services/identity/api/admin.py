"""`AdminService`: what the platform's operators see and do."""

from chassis.context import RequestContext
from chassis.pagination import decode_cursor, encode_cursor, page_size
from flownurture.identity.v1 import organization_pb2 as pb
from services.identity.api.messages import organization_message
from services.identity.platform import Platform


class AdminService:
    """The operators' view, across organizations."""

    service = pb.DESCRIPTOR.services_by_name["AdminService"]

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    async def list_organizations(
        self, request: pb.ListOrganizationsRequest, context: RequestContext
    ) -> pb.ListOrganizationsResponse:
        """Organizations, newest first."""
        size = page_size(request.page_size)
        # One more than the page tells whether there is a next one.
        found = await self._platform.organizations(before=decode_cursor(request.page_token), size=size + 1)
        return pb.ListOrganizationsResponse(
            organizations=[organization_message(organization) for organization in found[:size]],
            next_page_token=encode_cursor(found[size - 1].id) if len(found) > size else "",
        )
