"""AiUsageService: how much of its plan an organization has used."""

from datetime import UTC

from chassis.context import RequestContext
from chassis.database import TenantSession
from flownurture.integrations.v1 import usage_pb2 as pb
from services.integrations.ai import spending


class AiUsageApi:
    """Answers identity."""

    service = pb.DESCRIPTOR.services_by_name["AiUsageService"]

    async def count_tokens(
        self, request: pb.CountTokensRequest, context: RequestContext, session: TenantSession
    ) -> pb.CountTokensResponse:
        """The tokens that count in the cycle that started then."""
        since = request.cycle_started_at.ToDatetime(UTC)
        return pb.CountTokensResponse(tokens=await spending.counted(session, since))
