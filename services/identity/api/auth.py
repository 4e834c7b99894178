"""`AuthService`: sign-up, log-in, sessions."""

from typing import TypedDict
from uuid import UUID

from google.api.httpbody_pb2 import HttpBody
from google.protobuf.empty_pb2 import Empty

from chassis.context import PLATFORM, RequestContext, Role
from chassis.database import Database
from chassis.email_address import EmailAddress
from chassis.errors import Unauthenticated
from chassis.identifiers import new_id
from chassis.secret import Secret
from flownurture.identity.v1 import auth_pb2 as pb
from services.identity import (
    audit,
    memberships,
    organizations,
    refresh_tokens,
    sessions,
    users,
)
from services.identity.access_tokens import LIFETIME, AccessTokens
from services.identity.api.messages import home_message, organization_message, role_value, user_message
from services.identity.audit import Act
from services.identity.clock import Clock
from services.identity.grants import Grants
from services.identity.lookup import Lookup
from services.identity.names import parse_name
from services.identity.password_rule import refuse_weak
from services.identity.passwords import Passwords
from services.identity.refresh_tokens import RefreshToken


class Tokens(TypedDict):
    """What the answers that sign somebody in have in common."""

    access_token: str
    refresh_token: str
    token_type: str
    expires_in: int


class AuthService:
    """How people come in."""

    service = pb.DESCRIPTOR.services_by_name["AuthService"]

    def __init__(
        self,
        *,
        database: Database,
        lookup: Lookup,
        passwords: Passwords,
        grants: Grants,
        access_tokens: AccessTokens,
        clock: Clock,
    ) -> None:
        self._database = database
        self._lookup = lookup
        self._passwords = passwords
        self._grants = grants
        self._access_tokens = access_tokens
        self._clock = clock

    async def sign_up(self, request: pb.SignUpRequest, context: RequestContext) -> pb.SignUpResponse:
        """Create a user and an organization, all or nothing, and sign in; Conflict when the address is taken."""
        email, password = EmailAddress.parse(request.email), Secret(request.password)
        name = parse_name(request.name)
        organization_name = parse_name(request.organization_name, "organization_name")
        refuse_weak(password, email=email.text, names=(name, organization_name))
        password_hash = await self._passwords.hash(password)
        theirs = context.for_session(
            user_id=new_id(), session_id=new_id(), organization_id=new_id(), role=Role.ORG_ADMIN
        )
        user_id = UUID(theirs.actor_id)
        async with self._database.tenant_transaction(theirs) as session:
            organization = await organizations.create(session, organization_name, now=self._clock())
            await memberships.add(session, user_id, Role.ORG_ADMIN)
            user = await users.add(session, user_id, email=email, name=name, password_hash=password_hash)
            refresh_token = await sessions.begin(session)
            await audit.record(session, Act.SIGNED_UP, user_id)
        return pb.SignUpResponse(
            user=user_message(user),
            organization=organization_message(organization, self._clock()),
            **self._tokens_for(theirs, refresh_token),
        )

    async def log_in(self, request: pb.LogInRequest, context: RequestContext) -> pb.LogInResponse:
        """Begin a session. A wrong password and an unknown address get the same answer for the same work."""
        account = await self._lookup.account(EmailAddress.parse(request.email))
        password = Secret(request.password)
        fits = await self._passwords.verify(account.password_hash if account else None, password)
        if account is None or not fits:
            raise Unauthenticated("The e-mail address or the password is wrong.")
        theirs = context.for_session(
            user_id=account.user.id,
            session_id=new_id(),
            organization_id=account.organization.id,
            role=account.role,
        )
        outdated = self._passwords.is_outdated(account.password_hash)
        rehashed = await self._passwords.hash(password) if outdated else None
        async with self._database.tenant_transaction(theirs) as session:
            refresh_token = await sessions.begin(session)
            await audit.record(session, Act.LOGGED_IN, account.user.id)
            if rehashed is not None:
                await users.set_password_hash(session, account.user.id, rehashed)
        return pb.LogInResponse(
            user=user_message(account.user),
            organization=home_message(account.organization, self._clock()),
            **self._tokens_for(theirs, refresh_token),
        )

    async def refresh_session(
        self, request: pb.RefreshSessionRequest, context: RequestContext
    ) -> pb.RefreshSessionResponse:
        """Exchange a refresh token for its successor; the reuse of an old one ends the session."""
        token = RefreshToken.parse(request.refresh_token)
        live = await self._lookup.session_of(token)
        if live is None:
            raise Unauthenticated("The refresh token is not valid.")
        theirs = context.for_session(
            user_id=live.user.id, session_id=live.id, organization_id=live.organization.id, role=live.role
        )
        try:
            async with self._database.tenant_transaction(theirs) as session:
                successor = await refresh_tokens.exchange(session, token)
        except refresh_tokens.Reused:
            async with self._database.tenant_transaction(theirs) as session:
                await audit.record(session, Act.REFRESH_REUSED, live.id)
                await sessions.end(session, live.id, self._grants)
            raise Unauthenticated(
                "The refresh token was used before, so its session has been ended."
            ) from None
        return pb.RefreshSessionResponse(
            **self._tokens_for(theirs, successor),
        )

    async def log_out(self, request: pb.LogOutRequest, context: RequestContext) -> Empty:
        """End the caller's session; when this has answered, none of its tokens is good for anything."""
        async with self._database.tenant_transaction(sessions.home(context)) as session:
            session_id = UUID(context.session_id)
            await audit.record(session, Act.LOGGED_OUT, session_id)
            await sessions.end(session, session_id, self._grants)
        return Empty()

    async def get_me(self, request: pb.GetMeRequest, context: RequestContext) -> pb.GetMeResponse:
        """The user of the session, and its organization."""
        live = await self._lookup.session(UUID(context.session_id))
        if live is None:
            raise Unauthenticated
        return pb.GetMeResponse(
            user=user_message(live.user),
            organization=home_message(live.organization, self._clock()),
            role=role_value(live.role),
        )

    async def get_jwks(self, request: pb.GetJwksRequest, context: RequestContext) -> HttpBody:
        """The public signing keys as a JWK set."""
        return HttpBody(content_type="application/jwk-set+json", data=self._access_tokens.jwks)

    def _tokens_for(self, theirs: RequestContext, refresh_token: RefreshToken) -> Tokens:
        access_token = self._access_tokens.issue(
            user_id=UUID(theirs.actor_id),
            session_id=UUID(theirs.session_id),
            organization_id=None if theirs.organization == PLATFORM else theirs.organization,
        )
        return {
            "access_token": access_token,
            "refresh_token": refresh_token.text,
            "token_type": "Bearer",
            "expires_in": LIFETIME,
        }
