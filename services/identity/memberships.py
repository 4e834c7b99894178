"""Who belongs to an organization, and as what. There is always an ORG_ADMIN among them."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, delete, func, insert, or_, select, update

from chassis.context import Role
from chassis.database import TenantSession
from chassis.errors import Conflict, NotFound
from services.identity import audit, sessions
from services.identity.audit import Act
from services.identity.grants import Grants
from services.identity.revocation import take_back_from_member
from services.identity.tables import invitations, memberships, users


@dataclass(frozen=True, slots=True)
class Member:
    """A person as a member of the context's organization."""

    # Of the membership.
    id: UUID
    user_id: UUID
    email: str
    name: str
    role: Role
    joined_at: datetime

    @classmethod
    def of(cls, row: Row[Any]) -> "Member":
        """From a row of `_MEMBERS`."""
        return cls(row.id, row.user_id, row.email, row.name, Role[row.role], row.created_at)


_MEMBERS = select(
    memberships.c.id,
    memberships.c.user_id,
    users.c.email,
    users.c.name,
    memberships.c.role,
    memberships.c.created_at,
).join_from(memberships, users, users.c.id == memberships.c.user_id)


async def add(session: TenantSession, user_id: UUID, role: Role) -> None:
    """Make a person a member of the context's organization."""
    await session.execute(insert(memberships).values(user_id=user_id, role=role.name))


async def page(session: TenantSession, *, after: UUID | None, size: int) -> list[Member]:
    """At most `size` members in the order in which they joined, behind the membership named."""
    wanted = _MEMBERS.order_by(memberships.c.id).limit(size)
    if after is not None:
        wanted = wanted.where(memberships.c.id > after)
    return [Member.of(row) for row in await session.execute(wanted)]


async def among(session: TenantSession, user_ids: Collection[UUID]) -> list[UUID]:
    """Those of these users who are members."""
    wanted = select(memberships.c.user_id).where(memberships.c.user_id.in_(user_ids))
    return list((await session.execute(wanted)).scalars())


async def change_role(session: TenantSession, user_id: UUID, role: Role, grants: Grants) -> Member:
    """Give a member another role; when the transaction has committed, it holds for all of their tokens.

    Raises NotFound, Conflict for one's own role and for the last ORG_ADMIN, Unavailable when gateways cannot be told.
    """
    if str(user_id) == session.context.actor_id:
        raise Conflict("Nobody changes their own role; another ORG_ADMIN can.")
    before = await _held(session, user_id, leaves_admins=role is not Role.ORG_ADMIN)
    if before is not role:
        await session.execute(
            update(memberships).where(memberships.c.user_id == user_id).values(role=role.name)
        )
        await take_back_from_member(session, user_id, grants)
        await audit.record(
            session,
            Act.MEMBER_ROLE_CHANGED,
            user_id,
            before={"role": before.name},
            after={"role": role.name},
        )
    return Member.of((await session.execute(_MEMBERS.where(memberships.c.user_id == user_id))).one())


async def remove(session: TenantSession, user_id: UUID, grants: Grants) -> None:
    """End a membership, and with it its sessions; when the transaction has committed, none of their tokens passes.

    Raises NotFound, Conflict for the last ORG_ADMIN, Unavailable when gateways cannot be told.
    """
    role = await _held(session, user_id, leaves_admins=True)
    await take_back_from_member(session, user_id, grants)
    await session.execute(delete(memberships).where(memberships.c.user_id == user_id))
    by_themselves = str(user_id) == session.context.actor_id
    act = Act.MEMBER_LEFT if by_themselves else Act.MEMBER_REMOVED
    await audit.record(session, act, user_id, before={"role": role.name})


async def end_sessions(session: TenantSession, user_id: UUID, grants: Grants) -> None:
    """End all sessions of a member in the context's organization. Raises NotFound, Unavailable as `remove` does."""
    await _held(session, user_id, leaves_admins=False)
    await sessions.end_all(session, user_id, grants)
    await audit.record(session, Act.SESSION_ENDED, user_id)


async def seats_taken(session: TenantSession) -> int:
    """How many the plan's limit of members counts: those there are, and those who are invited."""
    members = select(func.count()).select_from(memberships).scalar_subquery()
    invited = (
        select(func.count())
        .select_from(invitations)
        .where(invitations.c.expires_at > func.now())
        .scalar_subquery()
    )
    return int(await session.scalar(select(members + invited)))


async def _held(session: TenantSession, user_id: UUID, *, leaves_admins: bool) -> Role:
    """A member's role; theirs and those of all admins are changed by nobody else until the transaction ends.

    Raises NotFound, and Conflict when the member is the last ORG_ADMIN and would be none any more.
    """
    is_admin = memberships.c.role == Role.ORG_ADMIN.name
    rows = await session.execute(
        select(memberships.c.user_id, memberships.c.role)
        .where(or_(is_admin, memberships.c.user_id == user_id))
        .order_by(memberships.c.user_id)
        .with_for_update()
    )
    roles = {row.user_id: Role[row.role] for row in rows}
    if user_id not in roles:
        raise NotFound("member")
    admins = [member for member, role in roles.items() if role is Role.ORG_ADMIN]
    if leaves_admins and admins == [user_id]:
        raise Conflict("An organization keeps at least one ORG_ADMIN.")
    return roles[user_id]
