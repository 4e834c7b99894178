"""`TeamService`, `MemberDirectoryService` and `InvitationService`: who belongs to the organization, and how they come in."""

from uuid import UUID

from google.protobuf.empty_pb2 import Empty

from chassis.context import RequestContext, Role
from chassis.database import Database, TenantSession
from chassis.email_address import EmailAddress
from chassis.errors import FieldViolation, InvalidRequest
from chassis.identifiers import new_id, parse_id
from chassis.pagination import decode_cursor, next_cursor, page_size
from chassis.secret import Secret
from flownurture.identity.v1 import team_pb2 as pb
from flownurture.identity.v1.auth_pb2 import LogInResponse
from flownurture.options.v1 import access_pb2
from services.identity import account_tokens, audit, invitations, memberships, organizations, sessions, users
from services.identity.account_mails import AccountMails
from services.identity.account_tokens import TokenNotValid
from services.identity.api.messages import role_value, timestamp
from services.identity.api.tokens import TokenAnswers
from services.identity.audit import Act
from services.identity.clock import Clock
from services.identity.grants import Grants
from services.identity.invitations import Invitation
from services.identity.lookup import Lookup, OpenInvitation
from services.identity.memberships import Member
from services.identity.names import parse_name
from services.identity.organizations import Organization
from services.identity.password_rule import refuse_weak
from services.identity.passwords import Passwords
from services.identity.proof import Proof
from services.identity.second_factors import SecondFactors


class TeamService:
    """Members and invitations of the caller's organization."""

    service = pb.DESCRIPTOR.services_by_name["TeamService"]

    def __init__(self, grants: Grants, mails: AccountMails, clock: Clock) -> None:
        self._grants = grants
        self._mails = mails
        self._clock = clock

    async def list_members(
        self, request: pb.ListMembersRequest, context: RequestContext, session: TenantSession
    ) -> pb.ListMembersResponse:
        """Members, in the order in which they joined."""
        size = page_size(request.page_size)
        # One more than the page tells whether there is a next one.
        found = await memberships.page(session, after=decode_cursor(request.page_token), size=size + 1)
        return pb.ListMembersResponse(
            members=[_member_message(member) for member in found[:size]],
            next_page_token=next_cursor(found, size),
        )

    async def update_member(
        self, request: pb.UpdateMemberRequest, context: RequestContext, session: TenantSession
    ) -> pb.Member:
        """Change a role at once. Conflict for one's own, and for the last ORG_ADMIN's."""
        member = await memberships.change_role(
            session, UUID(request.user_id), _team_role(request.role), self._grants
        )
        return _member_message(member)

    async def delete_member(
        self, request: pb.DeleteMemberRequest, context: RequestContext, session: TenantSession
    ) -> Empty:
        """Remove a member at once. Conflict for the last ORG_ADMIN."""
        await memberships.remove(session, UUID(request.user_id), self._grants)
        return Empty()

    async def end_member_sessions(
        self, request: pb.EndMemberSessionsRequest, context: RequestContext, session: TenantSession
    ) -> Empty:
        """End a member's sessions in the organization at once."""
        await memberships.end_sessions(session, UUID(request.user_id), self._grants)
        return Empty()

    async def leave_team(
        self, request: pb.LeaveTeamRequest, context: RequestContext, session: TenantSession
    ) -> Empty:
        """End the caller's own membership. Conflict for the last ORG_ADMIN."""
        await memberships.remove(session, UUID(context.actor_id), self._grants)
        return Empty()

    async def create_invitation(
        self, request: pb.CreateInvitationRequest, context: RequestContext, session: TenantSession
    ) -> pb.Invitation:
        """Invite a person by mail; the same one again gets a new link."""
        invitation = await invitations.invite(
            session,
            EmailAddress.parse(request.email),
            _team_role(request.role),
            now=self._clock(),
            mails=self._mails,
        )
        return _invitation_message(invitation)

    async def list_invitations(
        self, request: pb.ListInvitationsRequest, context: RequestContext, session: TenantSession
    ) -> pb.ListInvitationsResponse:
        """Open invitations, newest first."""
        size = page_size(request.page_size)
        found = await invitations.page(session, before=decode_cursor(request.page_token), size=size + 1)
        return pb.ListInvitationsResponse(
            invitations=[_invitation_message(invitation) for invitation in found[:size]],
            next_page_token=next_cursor(found, size),
        )

    async def delete_invitation(
        self, request: pb.DeleteInvitationRequest, context: RequestContext, session: TenantSession
    ) -> Empty:
        """Take an invitation back."""
        await invitations.revoke(session, UUID(request.invitation_id))
        return Empty()


class MemberDirectoryService:
    """Whom other processes may take for members."""

    service = pb.DESCRIPTOR.services_by_name["MemberDirectoryService"]

    async def find_members(
        self, request: pb.FindMembersRequest, context: RequestContext, session: TenantSession
    ) -> pb.FindMembersResponse:
        """Those of the users who are members of the context's organization."""
        found = await memberships.among(session, list(map(parse_id, request.user_ids)))
        return pb.FindMembersResponse(user_ids=map(str, found))


class InvitationService:
    """How an invited person comes in."""

    service = pb.DESCRIPTOR.services_by_name["InvitationService"]

    def __init__(
        self,
        *,
        database: Database,
        lookup: Lookup,
        passwords: Passwords,
        proof: Proof,
        factors: SecondFactors,
        answers: TokenAnswers,
        clock: Clock,
    ) -> None:
        self._database = database
        self._lookup = lookup
        self._passwords = passwords
        self._proof = proof
        self._factors = factors
        self._answers = answers
        self._clock = clock

    async def accept_invitation(
        self, request: pb.AcceptInvitationRequest, context: RequestContext
    ) -> LogInResponse:
        """Join and sign in. Who has an account proves it; who has none gets one, its address proved by the mail."""
        token = Secret(request.token)
        invitation = await self._lookup.invitation(account_tokens.digest_of(token))
        if invitation is None:
            raise TokenNotValid
        if await self._lookup.person(invitation.email) is not None:
            return await self._join_as_who_is_known(token, invitation, request, context)
        return await self._join_as_somebody_new(token, invitation, request, context)

    async def _join_as_who_is_known(
        self,
        token: Secret,
        invitation: OpenInvitation,
        request: pb.AcceptInvitationRequest,
        context: RequestContext,
    ) -> LogInResponse:
        async with self._proof.of_password(invitation.email, Secret(request.password), context) as person:
            theirs = _session_of(context, invitation, person.user.id)
            async with self._database.tenant_transaction(theirs) as session:
                organization = await organizations.hold(session)
                role = await invitations.join(session, token, person.user.id, seats=self._seats(organization))
                await users.hold_password(session, person.user.id, person.password_changed_at)
                await self._factors.prove(session, person.user.id, request.code)
                await users.verify_email(session, person.user.id)
                refresh_token = await sessions.begin(session)
                await audit.record(session, Act.MEMBER_JOINED, person.user.id, after={"role": role.name})
        return self._answers.signed_in(theirs, refresh_token, person.user, organization)

    async def _join_as_somebody_new(
        self,
        token: Secret,
        invitation: OpenInvitation,
        request: pb.AcceptInvitationRequest,
        context: RequestContext,
    ) -> LogInResponse:
        name, password = parse_name(request.name), Secret(request.password)
        await refuse_weak(password, email=invitation.email.text, names=(name,))
        password_hash = await self._passwords.hash(password)
        theirs = _session_of(context, invitation, new_id())
        user_id = UUID(theirs.actor_id)
        async with self._database.tenant_transaction(theirs) as session:
            organization = await organizations.hold(session)
            role = await invitations.join(session, token, user_id, seats=self._seats(organization))
            await users.add(session, user_id, email=invitation.email, name=name, password_hash=password_hash)
            await users.verify_email(session, user_id)
            refresh_token = await sessions.begin(session)
            await audit.record(session, Act.MEMBER_JOINED, user_id, after={"role": role.name})
            user = await users.get(session, user_id)
        return self._answers.signed_in(theirs, refresh_token, user, organization)

    def _seats(self, organization: Organization) -> int:
        return organization.subscription.at(self._clock()).entitlements.members


def _session_of(context: RequestContext, invitation: OpenInvitation, user_id: UUID) -> RequestContext:
    return context.for_session(
        user_id=user_id,
        session_id=new_id(),
        organization_id=invitation.organization_id,
        role=invitation.role,
    )


def _team_role(role: access_pb2.Role.ValueType) -> Role:
    """A role that an organization gives; InvalidRequest for the platform's."""
    given = Role(role)
    if given not in (Role.MEMBER, Role.ORG_ADMIN):
        raise InvalidRequest(FieldViolation("role", "must be MEMBER or ORG_ADMIN"))
    return given


def _member_message(member: Member) -> pb.Member:
    return pb.Member(
        user_id=str(member.user_id),
        email=member.email,
        name=member.name,
        role=role_value(member.role),
        joined_at=timestamp(member.joined_at),
    )


def _invitation_message(invitation: Invitation) -> pb.Invitation:
    return pb.Invitation(
        id=str(invitation.id),
        email=invitation.email,
        role=role_value(invitation.role),
        invited_by_user_id=str(invitation.invited_by),
        created_at=timestamp(invitation.created_at),
        expires_at=timestamp(invitation.expires_at),
    )
