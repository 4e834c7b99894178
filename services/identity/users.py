"""People. One person is one user, however many organizations they belong to.

The app role sees and changes only the members of the context's organization, and never reads a password hash.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, func, select, update
from sqlalchemy.dialects.postgresql import insert

from chassis.database import TenantSession
from chassis.email_address import EmailAddress
from chassis.errors import Conflict, Unauthenticated
from services.identity.tables import users

COLUMNS = (
    users.c.id.label("user_id"),
    users.c.email,
    users.c.name.label("user_name"),
    users.c.email_verified_at,
    users.c.created_at.label("user_created_at"),
)


@dataclass(frozen=True, slots=True)
class User:
    """A person with an account."""

    id: UUID
    email: str
    name: str
    created_at: datetime
    # Whether the address is proved to be theirs.
    email_verified: bool

    @classmethod
    def of(cls, row: Row[Any]) -> "User":
        """From a row that holds COLUMNS."""
        return cls(
            row.user_id, row.email, row.user_name, row.user_created_at, row.email_verified_at is not None
        )


async def add(
    session: TenantSession, user_id: UUID, *, email: EmailAddress, name: str, password_hash: str
) -> User:
    """Add a person who is already a member of the context's organization; Conflict when the address is taken."""
    statement = (
        insert(users)
        .values(
            id=user_id, email=email.text, email_digest=email.digest, name=name, password_hash=password_hash
        )
        # Without a conflict target, which the app role would need to be able to read.
        .on_conflict_do_nothing()
        .returning(*COLUMNS)
    )
    row = (await session.execute(statement)).one_or_none()
    if row is None:
        raise Conflict("There is an account with this e-mail address already.")
    return User.of(row)


async def verify_email(session: TenantSession, user_id: UUID) -> bool:
    """Note that the address is proved; whether that is news."""
    is_unproved = (users.c.id == user_id) & users.c.email_verified_at.is_(None)
    noted = await session.execute(update(users).where(is_unproved).values(email_verified_at=func.now()))
    return noted.rowcount == 1


async def set_password(session: TenantSession, user_id: UUID, password_hash: str) -> None:
    """Give a person another password."""
    await session.execute(
        update(users)
        .where(users.c.id == user_id)
        .values(password_hash=password_hash, password_changed_at=func.clock_timestamp())
    )


async def rehash_password(session: TenantSession, user_id: UUID, password_hash: str) -> None:
    """Replace the hash by one of the same password with today's parameters."""
    await session.execute(update(users).where(users.c.id == user_id).values(password_hash=password_hash))


async def hold_password(session: TenantSession, user_id: UUID, changed_at: datetime) -> None:
    """Let nobody change a password until the transaction ends; Unauthenticated when somebody has, since it was checked."""
    unchanged = (users.c.id == user_id) & (users.c.password_changed_at == changed_at)
    held = select(users.c.id).where(unchanged).with_for_update(key_share=True)
    if await session.scalar(held) is None:
        raise Unauthenticated


async def get(session: TenantSession, user_id: UUID) -> User:
    """A member of the context's organization."""
    return User.of((await session.execute(select(*COLUMNS).where(users.c.id == user_id))).one())
