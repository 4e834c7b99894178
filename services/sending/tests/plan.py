"""The part of the identity service that sending asks, served over real gRPC."""

from datetime import UTC, datetime
from uuid import UUID

from chassis.context import RequestContext
from chassis.errors import NotFound, Unavailable
from flownurture.identity.v1 import plans_pb2 as pb

CYCLE = datetime(2026, 11, 1, tzinfo=UTC)
PLENTY = 1_000_000


class Plan:
    """How many e-mails each organization may send in the cycle: plenty, unless a test says otherwise."""

    service = pb.DESCRIPTOR.services_by_name["EntitlementService"]

    def __init__(self) -> None:
        self.down = False
        self._emails: dict[UUID, int] = {}
        self.event_retention_days = 90
        self._features: dict[UUID, tuple[str, ...]] = {}
        self._unknown: set[UUID] = set()

    def allow(self, organization: UUID, emails: int) -> None:
        """Put an organization on a plan."""
        self._emails[organization] = emails

    def grant(self, organization: UUID, *features: str) -> None:
        """Put an organization on a plan with these features."""
        self._features[organization] = features

    def forget(self, organization: UUID) -> None:
        """Know no such organization."""
        self._unknown.add(organization)

    async def get_entitlements(
        self, request: pb.GetEntitlementsRequest, context: RequestContext
    ) -> pb.GetEntitlementsResponse:
        """The plan of the context's organization."""
        if self.down:
            raise Unavailable
        if context.organization in self._unknown:
            raise NotFound("organization")
        answer = pb.GetEntitlementsResponse(
            features=self._features.get(context.organization, ()),
            limits={
                "emails_per_cycle": self._emails.get(context.organization, PLENTY),
                "event_retention_days": self.event_retention_days,
            },
        )
        answer.cycle_started_at.FromDatetime(CYCLE)
        return answer
