"""EmailUsageService: how much of its plan an organization has used."""

from datetime import UTC

from chassis.context import RequestContext
from chassis.database import TenantSession
from flownurture.sending.v1 import usage_pb2 as pb
from services.sending import usage


class EmailUsageApi:
    """Answers identity."""

    service = pb.DESCRIPTOR.services_by_name["EmailUsageService"]

    async def count_emails(
        self, request: pb.CountEmailsRequest, context: RequestContext, session: TenantSession
    ) -> pb.CountEmailsResponse:
        """The e-mails that count in the cycle that started then."""
        since = request.cycle_started_at.ToDatetime(UTC)
        return pb.CountEmailsResponse(emails=await usage.counted(session, since))
