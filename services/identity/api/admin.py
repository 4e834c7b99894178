"""`AdminService`: what the platform's operators see of organizations and do with them."""

from uuid import UUID

from chassis.context import PLATFORM, RequestContext
from chassis.database import Database
from chassis.erasure_service import erased_at
from chassis.errors import NotFound
from chassis.pagination import decode_cursor, next_cursor, page_size
from flownurture.identity.v1 import admin_pb2 as pb
from flownurture.identity.v1.organization_pb2 import Organization
from services.identity import organization_erasures, organizations, subscriptions
from services.identity.api.audit import audit_event_message
from services.identity.api.messages import organization_message, plan_named, timestamp
from services.identity.clock import Clock
from services.identity.erasure_peers import ErasurePeers
from services.identity.grants import Grants
from services.identity.platform import Platform
from services.identity.sessions import within


class AdminService:
    """The operators' view, across organizations. What it changes, it changes within the one that is named."""

    service = pb.DESCRIPTOR.services_by_name["AdminService"]

    def __init__(
        self, database: Database, platform: Platform, grants: Grants, peers: ErasurePeers, clock: Clock
    ) -> None:
        self._database = database
        self._peers = peers
        self._platform = platform
        self._grants = grants
        self._clock = clock

    async def list_organizations(
        self, request: pb.ListOrganizationsRequest, context: RequestContext
    ) -> pb.ListOrganizationsResponse:
        """Organizations, newest first."""
        size = page_size(request.page_size)
        # One more than the page tells whether there is a next one.
        found = await self._platform.organizations(before=decode_cursor(request.page_token), size=size + 1)
        return pb.ListOrganizationsResponse(
            organizations=[
                organization_message(organization, self._clock()) for organization in found[:size]
            ],
            next_page_token=next_cursor(found, size),
        )

    async def look_up_organization(
        self, request: pb.LookUpOrganizationRequest, context: RequestContext
    ) -> Organization:
        """One organization, or NotFound."""
        return organization_message(
            await self._platform.organization(UUID(request.organization_id)), self._clock()
        )

    async def change_organization(
        self, request: pb.ChangeOrganizationRequest, context: RequestContext
    ) -> Organization:
        """Change what the request holds, and nothing else. NotFound; Conflict for resuming one that
        is to be erased; Unavailable when gateways cannot be told.
        """
        async with self._database.tenant_transaction(_within(request.organization_id, context)) as session:
            await organizations.hold(session)
            if request.HasField("suspended"):
                if not request.suspended:
                    await organization_erasures.require_staying(session)
                await organizations.set_suspended(session, request.suspended, self._grants)
            if request.plan:
                plan = plan_named(request.plan)
                await subscriptions.put_on(session, plan, now=self._clock(), grants=self._grants)
            return organization_message(await organizations.get(session), self._clock())

    async def request_organization_erasure(
        self, request: pb.RequestOrganizationErasureRequest, context: RequestContext
    ) -> pb.OrganizationErasure:
        """Let it stand still, and be erased later. NotFound, InvalidRequest, Conflict, Unavailable."""
        tenant = _within(request.organization_id, context)
        async with self._database.tenant_transaction(tenant) as session:
            await organization_erasures.request_erasure(
                session, request.name, self._grants, now=self._clock()
            )
        return await self._erasure(tenant)

    async def take_back_organization_erasure(
        self, request: pb.TakeBackOrganizationErasureRequest, context: RequestContext
    ) -> pb.OrganizationErasure:
        """Let it be. NotFound, Conflict."""
        tenant = _within(request.organization_id, context)
        async with self._database.tenant_transaction(tenant) as session:
            await organization_erasures.take_back(session)
        return await self._erasure(tenant)

    async def get_organization_erasure(
        self, request: pb.GetOrganizationErasureRequest, context: RequestContext
    ) -> pb.OrganizationErasure:
        """How far it is, by what each service says now. NotFound."""
        return await self._erasure(_within(request.organization_id, context))

    async def _erasure(self, tenant: RequestContext) -> pb.OrganizationErasure:
        async with self._database.tenant_transaction(tenant, read_only=True) as session:
            standing = await organization_erasures.standing(session)
            left_nothing_at = await erased_at(session)
        answer = pb.OrganizationErasure(
            organization_id=str(tenant.organization),
            erases_at=timestamp(standing.erases_at),
            erased_at=timestamp(standing.erased_at),
        )
        if standing.erased_at is not None:
            answer.services.add(service="identity", reachable=True, erased_at=left_nothing_at)
            for each in await self._peers.progress(tenant):
                answer.services.add(service=each.service, reachable=each.reachable, erased_at=each.erased_at)
        return answer

    async def list_platform_audit_events(
        self, request: pb.ListPlatformAuditEventsRequest, context: RequestContext
    ) -> pb.ListPlatformAuditEventsResponse:
        """What operators did, newest first."""
        size = page_size(request.page_size)
        found = await self._platform.audit_events(before=decode_cursor(request.page_token), size=size + 1)
        return pb.ListPlatformAuditEventsResponse(
            audit_events=[
                pb.PlatformAuditEvent(
                    organization_id=None if event.organization_id == PLATFORM else str(event.organization_id),
                    event=audit_event_message(event),
                )
                for event in found[:size]
            ],
            next_page_token=next_cursor(found, size),
        )


def _within(organization_id: str, context: RequestContext) -> RequestContext:
    """The operator, within the organization that a request names; NotFound for the platform's own."""
    named = UUID(organization_id)
    if named == PLATFORM:
        raise NotFound("organization")
    return within(context, named)
