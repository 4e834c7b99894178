"""API keys: what a program proves itself with.

Of a key's secret only the SHA-256 is stored, and, sealed, the root of the chain of keys that are derived from it: that
follows from the secret, and the secret does not follow from it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, delete, func, insert, or_, select, text, update

from chassis import api_key
from chassis.database import TenantSession
from chassis.derived_key import chain_key
from chassis.errors import Conflict, FieldViolation, InvalidRequest, NotFound
from chassis.identifiers import new_id
from chassis.secret import Secret, SecretBytes
from chassis.vault.keyring import Keyring
from chassis.vault.sealed_columns import SealedColumn
from chassis.vault.vault import Vault
from services.identity import audit
from services.identity.audit import Act
from services.identity.grants import Grants
from services.identity.tables import api_keys

MOST_LIVE = 100

# How much of a key is shown again: up to the milliseconds in its id, by which its owner can tell it from others.
_SHOWN = len(api_key.PREFIX) + 12
# Uses within this time of one another are written down once.
_USES_APART = timedelta(minutes=1)

_COLUMNS = [column for column in api_keys.c if column.name not in ("secret_digest", "sealed_chain_key")]
_PLACE = {"table": "api_keys", "column": "sealed_chain_key"}
# All of the schema that is an organization's. Seeds of second factors are persons'.
SEALED_COLUMNS = (SealedColumn(api_keys, "sealed_chain_key"),)

# Held until the transaction ends: keys of one organization are made one after the other, and so counted.
_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended('identity.api_keys:' || :organization, 0))")


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A key as its owner may see it at any time: without its secret, or what follows from that."""

    id: UUID
    name: str
    prefix: str
    scopes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None

    @classmethod
    def of(cls, row: Row[Any]) -> "StoredKey":
        """From a row that holds these."""
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
    session: TenantSession,
    vault: Vault,
    *,
    name: str,
    scopes: Sequence[str],
    expires_at: datetime | None,
) -> tuple[StoredKey, Secret]:
    """Make a key of the context's organization; its text is answered here and cannot be had again.

    Raises InvalidRequest for an expiry that is past, Conflict when the organization has 100 live keys.
    """
    await _refuse_too_many(session)
    key_id = new_id()
    secret = api_key.ApiKey.mint(key_id)
    keyring = await vault.keyring(session)
    values = {
        "id": key_id,
        "name": name,
        "prefix": secret[:_SHOWN],
        "secret_digest": api_key.ApiKey.parse(secret).secret_digest,
        "sealed_chain_key": keyring.seal(chain_key(secret), row=key_id, **_PLACE),
        "scopes": scopes,
        "expires_at": expires_at,
    }
    key = StoredKey.of((await session.execute(insert(api_keys).values(values).returning(*_COLUMNS))).one())
    if key.expires_at is not None and key.expires_at <= key.created_at:
        raise InvalidRequest(FieldViolation("expires_at", "must be in the future"))
    await audit.record(session, Act.API_KEY_CREATED, key_id, after=_facts(key))
    return key, Secret(secret)


async def _refuse_too_many(session: TenantSession) -> None:
    await session.execute(_LOCK, {"organization": str(session.context.organization)})
    count = await session.scalar(select(func.count()).select_from(api_keys).where(is_live()))
    if count >= MOST_LIVE:
        raise Conflict(
            f"The organization has {MOST_LIVE} live API keys, the most it can have: revoke one first.",
            reason="API_KEY_LIMIT_REACHED",
        )


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
    statement = delete(api_keys).where(api_keys.c.id == key_id).returning(*_COLUMNS)
    revoked = (await session.execute(statement)).one_or_none()
    if revoked is None:
        raise NotFound("API key")
    await audit.record(session, Act.API_KEY_REVOKED, key_id, before=_facts(StoredKey.of(revoked)))
    await grants.hold_api_key(key_id)


def opened_chain_key(key_id: UUID, sealed: bytes, keyring: Keyring) -> SecretBytes:
    """The root of the chain of keys that are derived from this one. Raises DoesNotOpen."""
    return keyring.open_bytes(sealed, row=key_id, **_PLACE)


def is_live() -> ColumnElement[bool]:
    """Whether a key can be used now."""
    return or_(api_keys.c.expires_at.is_(None), api_keys.c.expires_at > func.now())


def use_is_news() -> ColumnElement[bool]:
    """Whether a use now is far enough from the last one that was written down."""
    last = api_keys.c.last_used_at
    return or_(last.is_(None), last < func.now() - _USES_APART)


async def note_use(session: TenantSession, key_id: UUID) -> None:
    """Write down that a key is in use, unless that was done within the last minute."""
    await session.execute(
        update(api_keys).where(api_keys.c.id == key_id, use_is_news()).values(last_used_at=func.now())
    )


def _facts(key: StoredKey) -> audit.Facts:
    return {"name": key.name, "scopes": list(key.scopes), "prefix": key.prefix}
