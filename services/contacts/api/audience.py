"""AudienceService: decode, call the domain, encode."""

from chassis.context import RequestContext
from chassis.database import TenantSession
from chassis.identifiers import parse_id
from flownurture.contacts.v1 import audience_pb2 as pb
from services.contacts import audience
from services.contacts.api.fields import ids_of


class AudienceApi:
    """Whom a campaign is for, as the sending service asks."""

    service = pb.DESCRIPTOR.services_by_name["AudienceService"]

    async def list_recipients(
        self, request: pb.ListRecipientsRequest, context: RequestContext, session: TenantSession
    ) -> pb.ListRecipientsResponse:
        """One page of the contacts in any of the lists. NOT_FOUND names the lists that are not there."""
        found = await audience.page_recipients(
            session,
            ids_of(request.list_ids),
            after=parse_id(request.after_contact_id) if request.after_contact_id else None,
            size=request.page_size + 1,
        )
        return pb.ListRecipientsResponse(
            recipients=map(_as_message, found[: request.page_size]), last_page=len(found) <= request.page_size
        )


def _as_message(recipient: audience.Recipient) -> pb.Recipient:
    return pb.Recipient(
        contact_id=str(recipient.contact_id),
        email=recipient.email,
        first_name=recipient.first_name,
        last_name=recipient.last_name,
    )
