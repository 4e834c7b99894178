"""`AuthService`: sign-up, log-in, and the life of a session."""

from uuid import UUID

from google.api.httpbody_pb2 import HttpBody
from google.protobuf.empty_pb2 import Empty

from chassis.context import RequestContext, Role
from chassis.database import Database
from chassis.email_address import EmailAddress
from chassis.errors import Conflict, PermissionDenied, RateLimited, Unauthenticated
from chassis.identifiers import new_id
from chassis.secret import Secret
from flownurture.identity.v1 import auth_pb2 as pb
from services.identity import (
    account_tokens,
    audit,
    memberships,
    organizations,
    refresh_tokens,
    sessions,
    users,
)
from services.identity.access_tokens import AccessTokens
from services.identity.account_mails import AccountMails
from services.identity.account_tokens import Purpose
from services.identity.api.messages import home_message, organization_message, role_value, user_message
from services.identity.api.tokens import TokenAnswers
from services.identity.audit import Act
from services.identity.clock import Clock
from services.identity.grants import Grants
from services.identity.lookup import Lookup
from services.identity.names import parse_name
from services.identity.password_rule import refuse_weak
from services.identity.passwords import Passwords
from services.identity.proof import Proof
from services.identity.refresh_tokens import RefreshToken
from services.identity.second_factors import SecondFactors
from services.identity.throttle import Allowance, Throttle, network_of


class AuthService:
    """How people come in."""

    service = pb.DESCRIPTOR.services_by_name["AuthService"]

    def __init__(
        self,
        *,
        database: Database,
        lookup: Lookup,
        passwords: Passwords,
        proof: Proof,
        factors: SecondFactors,
        throttle: Throttle,
        grants: Grants,
        access_tokens: AccessTokens,
        answers: TokenAnswers,
        mails: AccountMails,
        sign_ups_per_hour: int,
        clock: Clock,
    ) -> None:
        self._database = database
        self._lookup = lookup
        self._passwords = passwords
        self._proof = proof
        self._factors = factors
        self._throttle = throttle
        self._grants = grants
        self._access_tokens = access_tokens
        self._answers = answers
        self._mails = mails
        self._sign_ups_per_hour = sign_ups_per_hour
        self._clock = clock

    async def sign_up(self, request: pb.SignUpRequest, context: RequestContext) -> pb.SignUpResponse:
        """Create a user and an organization, all or nothing, and sign in; Conflict when the address is taken.

        Why this tells that it is: docs/adr/0011-sign-up-tells.md. Its owner is told too.
        """
        await self._throttle.count(
            Allowance(
                f"sign-up:{network_of(context.client_address)}",
                burst=self._sign_ups_per_hour,
                seconds=3600 / self._sign_ups_per_hour,
            )
        )
        email, password = EmailAddress.parse(request.email), Secret(request.password)
        name = parse_name(request.name)
        organization_name = parse_name(request.organization_name, "organization_name")
        await refuse_weak(password, email=email.text, names=(name, organization_name))
        password_hash = await self._passwords.hash(password)
        theirs = context.for_session(
            user_id=new_id(), session_id=new_id(), organization_id=new_id(), role=Role.ORG_ADMIN
        )
        user_id = UUID(theirs.actor_id)
        try:
            async with self._database.tenant_transaction(theirs) as session:
                organization = await organizations.create(session, organization_name, now=self._clock())
                await memberships.add(session, user_id, Role.ORG_ADMIN)
                user = await users.add(session, user_id, email=email, name=name, password_hash=password_hash)
                refresh_token = await sessions.begin(session)
                token = await account_tokens.issue(session, user_id, Purpose.VERIFY_EMAIL)
                await self._mails.verify_email(session, email.text, token)
                await audit.record(session, Act.SIGNED_UP, user_id)
        except Conflict:
            await self._tell_the_owner(email, context)
            raise
        return pb.SignUpResponse(
            user=user_message(user),
            organization=organization_message(organization, self._clock()),
            **self._answers.tokens(theirs, refresh_token),
        )

    async def log_in(self, request: pb.LogInRequest, context: RequestContext) -> pb.LogInResponse:
        """Begin a session. A wrong password and an unknown address get the same answer for the same work."""
        email, password = EmailAddress.parse(request.email), Secret(request.password)
        async with self._proof.of_password(email, password, context) as person:
            held = await self._lookup.memberships_of(person.user.id)
            if not held:
                raise PermissionDenied(
                    "The account belongs to no organization any more.", reason="INSUFFICIENT_ROLE"
                )
            home = held[0]
            theirs = context.for_session(
                user_id=person.user.id,
                session_id=new_id(),
                organization_id=home.organization.id,
                role=home.role,
            )
            outdated = self._passwords.is_outdated(person.password_hash)
            rehashed = await self._passwords.hash(password) if outdated else None
            async with self._database.tenant_transaction(theirs) as session:
                await users.hold_password(session, person.user.id, person.password_changed_at)
                await self._factors.prove(session, person.user.id, request.code)
                refresh_token = await sessions.begin(session)
                await audit.record(session, Act.LOGGED_IN, person.user.id)
                if rehashed is not None:
                    await users.rehash_password(session, person.user.id, rehashed)
        return self._answers.signed_in(theirs, refresh_token, person.user, home.organization)

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
                await sessions.end(session, live.id, self._grants)
                await audit.record(session, Act.REFRESH_REUSED, live.id)
            raise Unauthenticated(
                "The refresh token was used before, so its session has been ended."
            ) from None
        return pb.RefreshSessionResponse(
            **self._answers.tokens(theirs, successor),
        )

    async def log_out(self, request: pb.LogOutRequest, context: RequestContext) -> Empty:
        """End the caller's session; when this has answered, none of its tokens is good for anything."""
        async with self._database.tenant_transaction(sessions.home(context)) as session:
            session_id = UUID(context.session_id)
            await sessions.end(session, session_id, self._grants)
            await audit.record(session, Act.LOGGED_OUT, session_id)
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

    async def _tell_the_owner(self, email: EmailAddress, context: RequestContext) -> None:
        """Of a taken address, once a day at most."""
        person = await self._lookup.person(email)
        held = await self._lookup.memberships_of(person.user.id) if person else []
        if person is None or not held:
            return
        try:
            await self._throttle.count(Allowance(f"taken:{email.digest.hex()}", burst=1, seconds=86_400))
        except RateLimited:
            return
        theirs = RequestContext.of_process("identity", held[0].organization.id, request_id=context.request_id)
        async with self._database.tenant_transaction(theirs) as session:
            self._mails.address_taken(session, person.user.email)
