"""Invitations: how a person is asked to join an organization, by a link in a mail that works once."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Select, delete, exists, func, select
from sqlalchemy.dialects.postgresql import insert

from chassis.context import Role
from chassis.database import TenantSession
from chassis.email_address import EmailAddress
from chassis.errors import Conflict, NotFound, PermissionDenied
from chassis.identifiers import new_id
from chassis.secret import Secret
from services.identity import account_tokens, audit, memberships, organizations
from services.identity.account_mails import AccountMails
from services.identity.account_tokens import TokenNotValid
from services.identity.audit import Act
from services.identity.tables import invitations, users
from services.identity.tables import memberships as membership_rows

LIFETIME = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Invitation:
    """An open invitation, without its token."""

    id: UUID
    email: str
    role: Role
    invited_by: UUID
    created_at: datetime
    expires_at: datetime

    @classmethod
    def of(cls, row: Row[Any]) -> "Invitation":
        """From a row of the table."""
        return cls(row.id, row.email, Role[row.role], row.invited_by, row.created_at, row.expires_at)


async def invite(
    session: TenantSession, email: EmailAddress, role: Role, *, now: datetime, mails: AccountMails
) -> Invitation:
    """Invite a person by mail; who is invited already gets a new link, and the old one is void.

    Raises Conflict for a member, PermissionDenied (PLAN_LIMIT_EXCEEDED) when the plan of now has no seat left.
    """
    # One after another, so that two cannot take the last seat.
    organization = await organizations.hold(session)
    await _refuse_members(session, email)
    await session.execute(delete(invitations).where(invitations.c.expires_at <= func.now()))
    token = account_tokens.mint()
    renewed = {
        "role": role.name,
        "token_digest": account_tokens.digest_of(token),
        "invited_by": UUID(session.context.actor_id),
        "created_at": func.now(),
        "expires_at": func.now() + LIFETIME,
    }
    statement = (
        insert(invitations)
        .values(id=new_id(), email=email.text, email_digest=email.digest, **renewed)
        .on_conflict_do_update(index_elements=["organization_id", "email_digest"], set_=renewed)
        .returning(*invitations.c)
    )
    invitation = Invitation.of((await session.execute(statement)).one())
    seats = organization.subscription.at(now).entitlements.members
    _refuse_over_limit(await memberships.seats_taken(session), seats)
    await mails.invitation(session, email.text, organization.name, token)
    await audit.record(
        session, Act.MEMBER_INVITED, invitation.id, after={"email": email.text, "role": role.name}
    )
    return invitation


async def page(session: TenantSession, *, before: UUID | None, size: int) -> list[Invitation]:
    """At most `size` open invitations, newest first, that were made before the one named."""
    wanted: Select[Any] = (
        select(invitations)
        .where(invitations.c.expires_at > func.now())
        .order_by(invitations.c.id.desc())
        .limit(size)
    )
    if before is not None:
        wanted = wanted.where(invitations.c.id < before)
    return [Invitation.of(row) for row in await session.execute(wanted)]


async def revoke(session: TenantSession, invitation_id: UUID) -> None:
    """Take an invitation back; NotFound when there is none that is open."""
    is_open = (invitations.c.id == invitation_id) & (invitations.c.expires_at > func.now())
    statement = delete(invitations).where(is_open).returning(invitations.c.email)
    row = (await session.execute(statement)).one_or_none()
    if row is None:
        raise NotFound("invitation")
    await audit.record(session, Act.INVITATION_REVOKED, invitation_id, before={"email": row.email})


async def join(session: TenantSession, token: Secret, user_id: UUID, *, seats: int) -> Role:
    """Use an invitation up and make the person a member; answers as what. The organization must be held.

    Raises TokenNotValid when it was used meanwhile, Conflict for a member, PermissionDenied (PLAN_LIMIT_EXCEEDED) when the
    plan has shrunk and no seat is left.
    """
    used = delete(invitations).where(
        invitations.c.token_digest == account_tokens.digest_of(token), invitations.c.expires_at > func.now()
    )
    row = (await session.execute(used.returning(invitations.c.role))).one_or_none()
    if row is None:
        raise TokenNotValid
    if await session.scalar(select(exists().where(membership_rows.c.user_id == user_id))):
        raise Conflict("The person is a member already.")
    role = Role[row.role]
    await memberships.add(session, user_id, role)
    members = int(await session.scalar(select(func.count()).select_from(membership_rows)))
    _refuse_over_limit(members, seats)
    return role


def _refuse_over_limit(taken: int, seats: int) -> None:
    """Raise PermissionDenied (PLAN_LIMIT_EXCEEDED) when more seats are taken than there are."""
    if taken > seats:
        raise PermissionDenied(
            f"The plan allows {seats:,} members, and all seats are taken.", reason="PLAN_LIMIT_EXCEEDED"
        )


async def _refuse_members(session: TenantSession, email: EmailAddress) -> None:
    # The policy on users shows members alone; their digests are not shown even so.
    theirs = select(users.c.id).where(func.lower(users.c.email) == email.text.lower())
    if await session.scalar(theirs) is not None:
        raise Conflict("The person is a member already.")
