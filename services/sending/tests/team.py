"""What workflows ask of the identity service about an organization's team, served over real gRPC."""

from uuid import UUID

from chassis.context import RequestContext
from flownurture.identity.v1 import team_pb2 as pb


class Team:
    """Members as a test makes them up."""

    service = pb.DESCRIPTOR.services_by_name["MemberDirectoryService"]

    def __init__(self) -> None:
        self._members: set[tuple[UUID, str]] = set()

    def add(self, organization: UUID, user_id: str) -> None:
        """Let somebody be a member."""
        self._members.add((organization, user_id))

    async def find_members(
        self, request: pb.FindMembersRequest, context: RequestContext
    ) -> pb.FindMembersResponse:
        """Those of them who are members of the context's organization."""
        found = [each for each in request.user_ids if (context.organization, each) in self._members]
        return pb.FindMembersResponse(user_ids=found)
