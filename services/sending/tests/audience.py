"""The part of the contacts service that sending asks, served over real gRPC."""

from collections.abc import Iterable
from uuid import UUID

from chassis.context import RequestContext
from chassis.errors import NotFound, Unavailable
from chassis.identifiers import new_id
from flownurture.contacts.v1 import audience_pb2 as pb


class Audience:
    """Lists of contacts by organization."""

    service = pb.DESCRIPTOR.services_by_name["AudienceService"]

    def __init__(self) -> None:
        self.down = False
        self._lists: dict[tuple[UUID, str], list[pb.Recipient]] = {}

    def add(self, organization: UUID, emails: Iterable[str]) -> str:
        """Make a list; answers its id."""
        list_id = str(new_id())
        self._lists[organization, list_id] = [
            pb.Recipient(contact_id=str(new_id()), email=email) for email in emails
        ]
        return list_id

    async def list_recipients(
        self, request: pb.ListRecipientsRequest, context: RequestContext
    ) -> pb.ListRecipientsResponse:
        """A page of the lists' contacts, by ascending id."""
        if self.down:
            raise Unavailable
        found: dict[str, pb.Recipient] = {}
        for list_id in request.list_ids:
            if (context.organization, list_id) not in self._lists:
                raise NotFound(f"list as {list_id}")
            found |= {each.contact_id: each for each in self._lists[context.organization, list_id]}
        later = [found[key] for key in sorted(found) if key > request.after_contact_id]
        page = later[: request.page_size]
        return pb.ListRecipientsResponse(recipients=page, last_page=len(later) == len(page))
