"""`SessionService`: the caller's own sessions, in all organizations that the caller belongs to."""

from uuid import UUID

from google.protobuf.empty_pb2 import Empty

from chassis.context import RequestContext
from chassis.database import Database
from chassis.errors import NotFound, Unauthenticated
from chassis.identifiers import new_id
from chassis.pagination import decode_cursor, next_cursor, page_size
from flownurture.identity.v1 import sessions_pb2 as pb
from flownurture.identity.v1.auth_pb2 import LogInResponse
from services.identity import audit, sessions
from services.identity.api.messages import home_message, refuse_cursor, role_value, timestamp
from services.identity.api.tokens import TokenAnswers
from services.identity.audit import Act
from services.identity.clock import Clock
from services.identity.grants import Grants
from services.identity.lookup import LiveSession, Lookup, Membership


class SessionService:
    """Lists, ends and changes them. Each belongs to an organization, within which alone it can be ended."""

    service = pb.DESCRIPTOR.services_by_name["SessionService"]

    def __init__(
        self, database: Database, lookup: Lookup, grants: Grants, answers: TokenAnswers, clock: Clock
    ) -> None:
        self._database = database
        self._lookup = lookup
        self._grants = grants
        self._answers = answers
        self._clock = clock

    async def list_sessions(
        self, request: pb.ListSessionsRequest, context: RequestContext
    ) -> pb.ListSessionsResponse:
        """Live sessions, newest first."""
        size = page_size(request.page_size)
        # One more than the page tells whether there is a next one.
        found = await self._lookup.sessions_of(
            UUID(context.actor_id), before=decode_cursor(request.page_token), size=size + 1
        )
        return pb.ListSessionsResponse(
            sessions=[self._session_message(live, context) for live in found[:size]],
            next_page_token=next_cursor(found, size),
        )

    async def delete_session(self, request: pb.DeleteSessionRequest, context: RequestContext) -> Empty:
        """End one of the caller's; NotFound for anybody else's."""
        live = await self._lookup.session(UUID(request.session_id))
        if live is None or str(live.user.id) != context.actor_id:
            raise NotFound("session")
        theirs = context.for_session(
            user_id=live.user.id,
            session_id=UUID(context.session_id),
            organization_id=live.organization.id,
            role=live.role,
        )
        async with self._database.tenant_transaction(theirs) as session:
            await sessions.end(session, live.id, self._grants)
            await audit.record(session, Act.SESSION_ENDED, live.id)
        return Empty()

    async def log_out_everywhere(self, request: pb.LogOutEverywhereRequest, context: RequestContext) -> Empty:
        """End all of the caller's sessions; those of the present organization last, so that a failure can be repeated."""
        user_id = UUID(context.actor_id)
        for held in last_of(await self._lookup.memberships_of(user_id), context):
            async with self._database.tenant_transaction(in_membership(context, held)) as session:
                await sessions.end_all(session, user_id, self._grants)
                await audit.record(session, Act.LOGGED_OUT_EVERYWHERE, user_id)
        return Empty()

    async def list_memberships(
        self, request: pb.ListMembershipsRequest, context: RequestContext
    ) -> pb.ListMembershipsResponse:
        """The caller's organizations: so few that they fit one page."""
        refuse_cursor(request.page_token)
        held = await self._lookup.memberships_of(UUID(context.actor_id))
        return pb.ListMembershipsResponse(
            memberships=[
                pb.Membership(
                    id=str(membership.id),
                    organization=home_message(membership.organization, self._clock()),
                    role=role_value(membership.role),
                    joined_at=timestamp(membership.joined_at),
                    current=_is_current(membership, context),
                )
                for membership in held
            ]
        )

    async def switch_membership(
        self, request: pb.SwitchMembershipRequest, context: RequestContext
    ) -> LogInResponse:
        """Begin a session in another of the caller's organizations, then end this one. NotFound for no membership of theirs."""
        user_id = UUID(context.actor_id)
        membership = await self._lookup.membership(user_id, UUID(request.membership_id))
        person = await self._lookup.person_by_id(user_id)
        if membership is None:
            raise NotFound("membership")
        if person is None:
            raise Unauthenticated
        theirs = context.for_session(
            user_id=user_id,
            session_id=new_id(),
            organization_id=membership.organization.id,
            role=membership.role,
        )
        async with self._database.tenant_transaction(theirs) as session:
            refresh_token = await sessions.begin(session)
            await audit.record(session, Act.LOGGED_IN, user_id)
        async with self._database.tenant_transaction(sessions.home(context)) as session:
            goes_on = await sessions.end(session, UUID(context.session_id), self._grants)
        if not goes_on:
            # It was ended while this ran, and what ended it did not see the one that has begun.
            async with self._database.tenant_transaction(theirs) as session:
                await sessions.end(session, UUID(theirs.session_id), self._grants)
            raise Unauthenticated
        return self._answers.signed_in(theirs, refresh_token, person.user, membership.organization)

    def _session_message(self, live: LiveSession, context: RequestContext) -> pb.Session:
        return pb.Session(
            id=str(live.id),
            created_at=timestamp(live.created_at),
            last_used_at=timestamp(live.last_used_at),
            expires_at=timestamp(live.expires_at),
            client_address=live.client_address,
            user_agent=live.user_agent,
            organization=home_message(live.organization, self._clock()),
            current=str(live.id) == context.session_id,
        )


def in_membership(context: RequestContext, membership: Membership) -> RequestContext:
    """The caller's own context in one of their organizations."""
    return context.for_session(
        user_id=UUID(context.actor_id),
        session_id=UUID(context.session_id),
        organization_id=membership.organization.id,
        role=membership.role,
    )


def last_of(memberships: list[Membership], context: RequestContext) -> list[Membership]:
    """The memberships, that of the present session last."""
    return sorted(memberships, key=lambda membership: _is_current(membership, context))


def _is_current(membership: Membership, context: RequestContext) -> bool:
    return membership.organization.id == sessions.home(context).organization
