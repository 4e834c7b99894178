"""API keys: what a program proves itself with. Only the SHA-256 of a key's secret is stored."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, delete, func, insert, or_, select, update

from chassis import api_key
from chassis.database import TenantSession
from chassis.errors import FieldViolation, InvalidRequest, NotFound
from chassis.identifiers import new_id
from chassis.secret import Secret
from services.identity import audit
from services.identity.audit import Act
from services.identity.grants import Grants
from services.identity.tables import api_keys

# How much of a key is shown again: up to the milliseconds in its id, by which its owner can tell it from others.
_SHOWN = len(api_key.PREFIX) + 12
# Uses within this time of one another are written down once.
_USES_APART = timedelta(minutes=1)

_COLUMNS = [column for column in api_keys.c if column is not api_keys.c.secret_digest]


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A key as its owner may see it at any time: without its secret."""

    id: UUID
    name: str
    prefix: str
    scopes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None

    @classmethod
    def of(cls, row: Row[Any]) -> "StoredKey":
        """From a row that holds all but the digest."""
        return cls(
            row.id,
            row.name,
            row.prefix,
            tuple(row.scopes),
            row.created_at,
            row.expires_at,
            row.last_used_at,
        )


async def create(
    session: TenantSession, *, name: str, scopes: Sequence[str], expires_at: datetime | None
) -> tuple[StoredKey, Secret]:
    """Make a key of the context's organization; its text is answered here and cannot be had again."""
    key_id = new_id()
    text = api_key.ApiKey.mint(key_id)
    values = {
        "id": key_id,
        "name": name,
        "prefix": text[:_SHOWN],
        "secret_digest": api_key.ApiKey.parse(text).secret_digest,
        "scopes": scopes,
        "expires_at": expires_at,
    }
    row = (await session.execute(insert(api_keys).values(values).returning(*_COLUMNS))).one()
    if row.expires_at is not None and row.expires_at <= row.created_at:
        raise InvalidRequest(FieldViolation("expires_at", "must be in the future"))
    await audit.record(session, Act.API_KEY_CREATED, key_id)
    return StoredKey.of(row), Secret(text)


async def page(session: TenantSession, *, before: UUID | None, size: int) -> list[StoredKey]:
    """At most `size` keys, newest first, that were made before the one named."""
    statement = select(*_COLUMNS).order_by(api_keys.c.id.desc()).limit(size)
    if before is not None:
        statement = statement.where(api_keys.c.id < before)
    return [StoredKey.of(row) for row in await session.execute(statement)]


async def revoke(session: TenantSession, key_id: UUID, grants: Grants) -> None:
    """Revoke a key. When the transaction has committed, the key is refused everywhere.

    Raises NotFound, or Unavailable, and so rolls back, when the gateways cannot be told.
    """
    deleted = await session.execute(delete(api_keys).where(api_keys.c.id == key_id))
    if deleted.rowcount == 0:
        raise NotFound("API key")
    await audit.record(session, Act.API_KEY_REVOKED, key_id)
    await grants.hold_api_key(key_id)


def use_is_news() -> ColumnElement[bool]:
    """Whether a use now is far enough from the last one that was written down."""
    last = api_keys.c.last_used_at
    return or_(last.is_(None), last < func.now() - _USES_APART)


async def note_use(session: TenantSession, key_id: UUID) -> None:
    """Write down that a key is in use, unless that was done within the last minute."""
    await session.execute(
        update(api_keys).where(api_keys.c.id == key_id, use_is_news()).values(last_used_at=func.now())
    )
