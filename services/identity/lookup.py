"""What is asked before an organization is known, through the role `identity_lookup`, which only reads.

Each question is one statement and answers with the organization, from which a context is made.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, FromClause, Row, Select, and_, exists, func, select

from chassis.context import PLATFORM, Role
from chassis.database import RoleDatabase
from chassis.email_address import EmailAddress
from services.identity import organizations as organization_rows
from services.identity import users as user_rows
from services.identity.api_keys import is_live, use_is_news
from services.identity.organizations import Organization
from services.identity.refresh_tokens import RefreshToken
from services.identity.session_lifetimes import is_live_session
from services.identity.tables import (
    account_tokens,
    api_keys,
    invitations,
    memberships,
    organizations,
    refresh_tokens,
    sessions,
    users,
)
from services.identity.users import User


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with an account, whatever organizations they belong to, if any."""

    user: User
    email_digest: bytes
    password_hash: str
    password_changed_at: datetime
    # Whether they have a live session that began at the address from which is asked.
    at_known_address: bool


@dataclass(frozen=True, slots=True)
class Membership:
    """That a person belongs to an organization."""

    id: UUID
    organization: Organization
    role: Role
    joined_at: datetime


@dataclass(frozen=True, slots=True)
class OpenInvitation:
    """An invitation that neither expired nor was taken back."""

    id: UUID
    organization_id: UUID
    email: EmailAddress
    role: Role


@dataclass(frozen=True, slots=True)
class LiveSession:
    """A session that neither ended nor expired, and what its user is at this moment."""

    id: UUID
    user: User
    organization: Organization
    role: Role
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    client_address: str
    user_agent: str


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
            sessions.c.created_at.label("session_created_at"),
            sessions.c.last_used_at,
            sessions.c.expires_at,
            sessions.c.client_address,
            sessions.c.user_agent,
        )
        .select_from(source)
        .where(is_live_session())
    )


def _memberships() -> Select[Any]:
    return (
        select(
            memberships.c.id,
            memberships.c.role,
            memberships.c.created_at.label("joined_at"),
            *organization_rows.COLUMNS,
        )
        .join_from(
            memberships, organizations, memberships.c.organization_id == organizations.c.organization_id
        )
        # An operator is one before all else; who is none began where they joined first.
        .order_by(
            (memberships.c.organization_id == PLATFORM).desc(), memberships.c.created_at, memberships.c.id
        )
    )


class Lookup:
    """The questions that can be asked."""

    def __init__(self, database: RoleDatabase) -> None:
        self._database = database

    async def person(self, email: EmailAddress, client_address: str = "") -> Person | None:
        """Whose address this is."""
        return await self._person(users.c.email_digest == email.digest, client_address)

    async def person_by_id(self, user_id: UUID) -> Person | None:
        """A person by their id."""
        return await self._person(users.c.id == user_id, "")

    async def memberships_of(self, user_id: UUID) -> list[Membership]:
        """The organizations that a person belongs to, the one to begin a session in before the others."""
        rows = await self._all(_memberships().where(memberships.c.user_id == user_id))
        return [_membership(row) for row in rows]

    async def membership(self, user_id: UUID, membership_id: UUID) -> Membership | None:
        """One of a person's memberships."""
        theirs = (memberships.c.user_id == user_id) & (memberships.c.id == membership_id)
        row = await self._first(_memberships().where(theirs))
        return None if row is None else _membership(row)

    async def sessions_of(self, user_id: UUID, *, before: UUID | None, size: int) -> list[LiveSession]:
        """At most `size` live sessions of a person, newest first, that began before the one named."""
        theirs = _signed_in(_SESSIONS).where(sessions.c.user_id == user_id)
        if before is not None:
            theirs = theirs.where(sessions.c.id < before)
        rows = await self._all(theirs.order_by(sessions.c.id.desc()).limit(size))
        return [_live_session(row) for row in rows]

    async def invitation(self, token_digest: bytes) -> OpenInvitation | None:
        """The open invitation whose token this is."""
        row = await self._first(
            select(
                invitations.c.id, invitations.c.organization_id, invitations.c.email, invitations.c.role
            ).where(invitations.c.token_digest == token_digest, invitations.c.expires_at > func.now())
        )
        if row is None:
            return None
        return OpenInvitation(row.id, row.organization_id, EmailAddress.parse(row.email), Role[row.role])

    async def user_of_token(self, digest: bytes, purpose: str) -> UUID | None:
        """Whose living token of a mail this is."""
        row = await self._first(
            select(account_tokens.c.user_id).where(
                account_tokens.c.digest == digest,
                account_tokens.c.purpose == purpose,
                account_tokens.c.expires_at > func.now(),
            )
        )
        return None if row is None else row.user_id

    async def session(self, session_id: UUID) -> LiveSession | None:
        """A live session by its id."""
        row = await self._first(_signed_in(_SESSIONS).where(sessions.c.id == session_id))
        return None if row is None else _live_session(row)

    async def session_of(self, token: RefreshToken) -> LiveSession | None:
        """The live session that a refresh token was issued for, whether or not the token has been replaced."""
        issued_for = and_(
            refresh_tokens.c.organization_id == sessions.c.organization_id,
            refresh_tokens.c.session_id == sessions.c.id,
        )
        row = await self._first(
            _signed_in(_SESSIONS.join(refresh_tokens, issued_for)).where(
                refresh_tokens.c.digest == token.digest
            )
        )
        return None if row is None else _live_session(row)

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

    async def _person(self, is_this: ColumnElement[bool], client_address: str) -> Person | None:
        from_here = (sessions.c.user_id == users.c.id) & (sessions.c.client_address == client_address)
        known = exists().where(from_here, is_live_session(), sessions.c.client_address != "")
        row = await self._first(
            select(
                *user_rows.COLUMNS,
                users.c.email_digest,
                users.c.password_hash,
                users.c.password_changed_at,
                known.label("at_known_address"),
            ).where(is_this)
        )
        if row is None:
            return None
        return Person(
            User.of(row), row.email_digest, row.password_hash, row.password_changed_at, row.at_known_address
        )

    async def _first(self, statement: Select[Any]) -> Row[Any] | None:
        async with self._database.transaction() as connection:
            row: Row[Any] | None = (await connection.execute(statement)).first()
        return row

    async def _all(self, statement: Select[Any]) -> Sequence[Row[Any]]:
        async with self._database.transaction() as connection:
            rows: Sequence[Row[Any]] = (await connection.execute(statement)).all()
        return rows


def _membership(row: Row[Any]) -> Membership:
    return Membership(row.id, Organization.of(row), Role[row.role], row.joined_at)


def _live_session(row: Row[Any]) -> LiveSession:
    return LiveSession(
        row.session_id,
        User.of(row),
        Organization.of(row),
        Role[row.role],
        row.session_created_at,
        row.last_used_at,
        row.expires_at,
        row.client_address,
        row.user_agent,
    )
