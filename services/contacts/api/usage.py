"""ContactUsageService: how much of its plan an organization has used."""

from chassis.context import RequestContext
from chassis.database import TenantSession
from flownurture.contacts.v1 import usage_pb2 as pb
from services.contacts import usage


class ContactUsageApi:
    """Answers identity."""

    service = pb.DESCRIPTOR.services_by_name["ContactUsageService"]

    async def count_contacts(
        self, request: pb.CountContactsRequest, context: RequestContext, session: TenantSession
    ) -> pb.CountContactsResponse:
        """The contacts that the context's organization holds."""
        return pb.CountContactsResponse(contacts=await usage.held(session))
