"""What is asked before an organization is known, through the role `identity_lookup`, which only reads.

Each question is one statement and answers with the organization, from which a context is made.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import FromClause, Row, Select, and_, func, select

from chassis.context import PLATFORM, Role
from chassis.database import RoleDatabase
from chassis.email_address import EmailAddress
from services.identity import organizations as organization_rows
from services.identity import users as user_rows
from services.identity.api_keys import is_live, use_is_news
from services.identity.organizations import Organization
from services.identity.refresh_tokens import RefreshToken
from services.identity.tables import api_keys, memberships, organizations, refresh_tokens, sessions, users
from services.identity.users import User


@dataclass(frozen=True, slots=True)
class Account:
    """A user with the membership that a new session is for."""

    user: User
    password_hash: str
    organization: Organization
    role: Role


@dataclass(frozen=True, slots=True)
class LiveSession:
    """A session that neither ended nor expired, and what its user is at this moment."""

    id: UUID
    user: User
    organization: Organization
    role: Role
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class LiveKey:
    """An API key that was neither revoked nor expired."""

    id: UUID
    secret_digest: bytes
    # None of a key that nothing can be derived from.
    sealed_chain_key: bytes | None
    scopes: tuple[str, ...]
    organization: Organization
    expires_at: datetime | None
    # Whether its last use was long enough ago to be worth a write.
    use_is_news: bool


_MEMBERS = (
    users.join(memberships, memberships.c.user_id == users.c.id)
    .join(organizations, organizations.c.organization_id == memberships.c.organization_id)
)  # fmt: skip
_SESSIONS = _MEMBERS.join(
    sessions,
    and_(
        sessions.c.organization_id == memberships.c.organization_id,
        sessions.c.user_id == memberships.c.user_id,
    ),
)


def _signed_in(source: FromClause) -> Select[Any]:
    return (
        select(
            *user_rows.COLUMNS,
            *organization_rows.COLUMNS,
            memberships.c.role,
            sessions.c.id.label("session_id"),
            sessions.c.expires_at,
        )
        .select_from(source)
        .where(sessions.c.expires_at > func.now())
    )


class Lookup:
    """The questions that can be asked."""

    def __init__(self, database: RoleDatabase) -> None:
        self._database = database

    async def account(self, email: EmailAddress) -> Account | None:
        """The account of an address: as an operator if it is one, else in the organization joined first."""
        row = await self._first(
            select(*user_rows.COLUMNS, users.c.password_hash, *organization_rows.COLUMNS, memberships.c.role)
            .select_from(_MEMBERS)
            .where(users.c.email_digest == email.digest)
            .order_by((memberships.c.organization_id == PLATFORM).desc(), memberships.c.created_at)
            .limit(1)
        )
        if row is None:
            return None
        return Account(User.of(row), row.password_hash, Organization.of(row), Role[row.role])

    async def session(self, session_id: UUID) -> LiveSession | None:
        """A live session by its id."""
        return _live_session(await self._first(_signed_in(_SESSIONS).where(sessions.c.id == session_id)))

    async def session_of(self, token: RefreshToken) -> LiveSession | None:
        """The live session that a refresh token was issued for, whether or not the token has been replaced."""
        issued_for = and_(
            refresh_tokens.c.organization_id == sessions.c.organization_id,
            refresh_tokens.c.session_id == sessions.c.id,
        )
        return _live_session(
            await self._first(
                _signed_in(_SESSIONS.join(refresh_tokens, issued_for)).where(
                    refresh_tokens.c.digest == token.digest
                )
            )
        )

    async def api_key(self, key_id: UUID) -> LiveKey | None:
        """A live key by its id; its secret is for the caller to compare."""
        row = await self._first(
            select(
                api_keys.c.id,
                api_keys.c.secret_digest,
                api_keys.c.sealed_chain_key,
                api_keys.c.scopes,
                api_keys.c.expires_at,
                use_is_news().label("use_is_news"),
                *organization_rows.COLUMNS,
            )
            .join_from(api_keys, organizations, api_keys.c.organization_id == organizations.c.organization_id)
            .where(api_keys.c.id == key_id, is_live())
        )
        if row is None:
            return None
        return LiveKey(
            row.id,
            row.secret_digest,
            row.sealed_chain_key,
            tuple(row.scopes),
            Organization.of(row),
            row.expires_at,
            row.use_is_news,
        )

    async def _first(self, statement: Select[Any]) -> Row[Any] | None:
        async with self._database.transaction() as connection:
            row: Row[Any] | None = (await connection.execute(statement)).first()
        return row


def _live_session(row: Row[Any] | None) -> LiveSession | None:
    if row is None:
        return None
    return LiveSession(row.session_id, User.of(row), Organization.of(row), Role[row.role], row.expires_at)
