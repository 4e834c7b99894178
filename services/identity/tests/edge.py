"""The edge of the platform as identity sees it: who calls it, and with whose context."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from ipaddress import IPv6Address
from typing import Any
from uuid import UUID, uuid4

import jwt

from chassis.context import ActorKind, RequestContext, Role
from chassis.rpc.client import Peer
from flownurture.identity.v1 import admission_pb2, auth_pb2, organization_exports_pb2
from flownurture.identity.v1.account_pb2_grpc import AccountServiceStub
from flownurture.identity.v1.admin_pb2_grpc import AdminServiceStub
from flownurture.identity.v1.admission_pb2_grpc import AdmissionServiceStub
from flownurture.identity.v1.api_keys_pb2_grpc import ApiKeyServiceStub
from flownurture.identity.v1.audit_pb2_grpc import AuditServiceStub
from flownurture.identity.v1.auth_pb2_grpc import AuthServiceStub
from flownurture.identity.v1.dead_letters_pb2_grpc import DeadLetterAdminServiceStub
from flownurture.identity.v1.organization_exports_pb2_grpc import OrganizationExportServiceStub
from flownurture.identity.v1.organization_pb2_grpc import OrganizationServiceStub
from flownurture.identity.v1.plans_pb2_grpc import PlanServiceStub
from flownurture.identity.v1.second_factor_pb2_grpc import SecondFactorServiceStub
from flownurture.identity.v1.sessions_pb2_grpc import SessionServiceStub
from flownurture.identity.v1.team_pb2_grpc import InvitationServiceStub, TeamServiceStub

PASSWORD = "a quiet river bend"
NOBODY = RequestContext(issuer="gateway", actor_kind=ActorKind.ANONYMOUS)


@dataclass(frozen=True)
class Person:
    """Somebody who signed in, with what the gateway would stamp for their session."""

    email: str
    answer: auth_pb2.SignUpResponse | auth_pb2.LogInResponse
    context: RequestContext

    @property
    def session_id(self) -> UUID:
        return UUID(self.context.session_id)


class Edge:
    """Calls identity as the gateway does: with contexts that its key has stamped."""

    def __init__(self, peer: Peer, target: str) -> None:
        self._peer = peer
        self.target = target
        self.auth = AuthServiceStub(peer.channel)
        self.sessions = SessionServiceStub(peer.channel)
        self.account = AccountServiceStub(peer.channel)
        self.second_factor = SecondFactorServiceStub(peer.channel)
        self.team = TeamServiceStub(peer.channel)
        self.invitations = InvitationServiceStub(peer.channel)
        self.organizations = OrganizationServiceStub(peer.channel)
        self.api_keys = ApiKeyServiceStub(peer.channel)
        self.plans = PlanServiceStub(peer.channel)
        self.audit = AuditServiceStub(peer.channel)
        self.admin = AdminServiceStub(peer.channel)
        self.exports = OrganizationExportServiceStub(peer.channel)
        self.dead_letters = DeadLetterAdminServiceStub(peer.channel)
        self.admission = AdmissionServiceStub(peer.channel)

    async def call(self, method: Any, request: Any, context: RequestContext = NOBODY) -> Any:
        """The answer; raises the domain error that identity answered with."""
        if not context.request_id:
            context = replace(context, request_id=str(uuid4()))
        if not context.client_address:
            # Everybody calls from somewhere else, so that nobody uses up what another may try.
            context = replace(context, client_address=str(IPv6Address(uuid4().int)))
        return await self._peer.call(method, request, context)

    async def exported(self, organization_id: str, context: RequestContext) -> AsyncGenerator[bytes, None]:
        """All of an organization; raises Unavailable where another service has to be asked and is not there."""
        request = organization_exports_pb2.ExportOrganizationRequest(organization_id=organization_id)
        context = replace(context, request_id=str(uuid4()), client_address=str(IPv6Address(uuid4().int)))
        async for piece in self._peer.stream(self.exports.ExportOrganization, request, context):
            yield piece.data

    async def sign_up(self, **changed: str) -> Person:
        """A new person in a new organization."""
        asked = {
            "email": f"{uuid4().hex}@people.test",
            "password": PASSWORD,
            "name": "Ines Ferro",
            "organization_name": "Ferro & Daughters",
            **changed,
        }
        answer = await self.call(self.auth.SignUp, auth_pb2.SignUpRequest(**asked))
        return await self.signed_in(asked["email"], answer)

    async def log_in(self, email: str, password: str = PASSWORD) -> Person:
        """The person in another session."""
        answer = await self.call(self.auth.LogIn, auth_pb2.LogInRequest(email=email, password=password))
        return await self.signed_in(email, answer)

    async def signed_in(self, email: str, answer: Any) -> Person:
        """A person by the answer that signed them in."""
        grant = await self.resolve_session(session_of(answer.access_token))
        return Person(email, answer, context_of(grant))

    async def refresh(self, refresh_token: str) -> auth_pb2.RefreshSessionResponse:
        """New tokens for a refresh token."""
        request = auth_pb2.RefreshSessionRequest(refresh_token=refresh_token)
        answer: auth_pb2.RefreshSessionResponse = await self.call(self.auth.RefreshSession, request)
        return answer

    async def resolve_session(self, session_id: UUID) -> admission_pb2.Grant:
        """What a session may do, or Unauthenticated."""
        request = admission_pb2.ResolveCredentialRequest(session_id=str(session_id))
        grant: admission_pb2.Grant = await self.call(self.admission.ResolveCredential, request)
        return grant


def session_of(access_token: str) -> UUID:
    """The session that an access token names; its signature is other tests' concern."""
    return UUID(jwt.decode(access_token, options={"verify_signature": False})["sid"])


def context_of(grant: admission_pb2.Grant) -> RequestContext:
    """What the gateway stamps for a grant."""
    return RequestContext(
        issuer="gateway",
        actor_kind=ActorKind(grant.actor.kind),
        actor_id=grant.actor.id,
        role=Role(grant.role),
        scopes=frozenset(grant.scopes),
        features=frozenset(grant.features),
        organization_id=UUID(grant.organization_id) if grant.organization_id else None,
        session_id=grant.session_id,
    )
