"""What a CRM gives to who is connected: a key of the account's own, or tokens of OAuth 2.0 (RFC 6749 §5.1). Kept sealed, and nowhere else."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, func, select, update
from sqlalchemy.dialects.postgresql import insert

from chassis.database import TenantSession
from chassis.secret import Secret
from chassis.vault.keyring import Keyring
from services.integrations.connections import Status
from services.integrations.crm.oauth import Tokens
from services.integrations.tables import connections, credentials

_TABLE = "credentials"
# Whatever a CRM says.
_MOST_SECONDS = timedelta(days=365).total_seconds()


@dataclass(frozen=True, slots=True)
class Grant:
    """What opens an account. A key of the account's own has no end, and nothing that renews it."""

    token: Secret
    refresh_token: Secret | None = None
    lifetime: timedelta | None = None


def grant_of(tokens: Tokens) -> Grant:
    """What is kept of what a CRM answered."""
    lifetime = None if tokens.expires_in is None else timedelta(seconds=min(tokens.expires_in, _MOST_SECONDS))
    return Grant(tokens.access, tokens.refresh, lifetime)


@dataclass(frozen=True, slots=True)
class HeldGrant:
    """A grant as it is held: `version` is another with each that takes its place, `remaining` the lifetime that is left."""

    version: int
    token: Secret
    refresh_token: Secret | None
    remaining: timedelta | None
    # The CRM has refused it: somebody has to connect the account again.
    is_refused: bool


_HELD = select(
    credentials.c.version,
    credentials.c.sealed_token,
    credentials.c.sealed_refresh_token,
    # By the clock of the database, which is one for all processes.
    (credentials.c.expires_at - func.now()).label("remaining"),
    connections.c.status,
).join_from(credentials, connections, connections.c.id == credentials.c.connection_id)


async def hold(session: TenantSession, keyring: Keyring, connection_id: UUID, grant: Grant) -> None:
    """Keep a grant, in place of one that there may be."""
    values = _sealed(keyring, connection_id, grant)
    statement = insert(credentials).values(connection_id=connection_id, **values)
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=["organization_id", "connection_id"],
            set_=values | {"version": credentials.c.version + 1, "refreshing_until": None},
        )
    )


async def held(session: TenantSession, keyring: Keyring, connection_id: UUID) -> HeldGrant | None:
    """The grant of a connection; None where there is none."""
    found = await session.execute(_HELD.where(credentials.c.connection_id == connection_id))
    row = found.one_or_none()
    return None if row is None else _opened(keyring, connection_id, row)


async def lease(session: TenantSession, connection_id: UUID, version: int, lasting: timedelta) -> bool:
    """Have the refreshing of this version to oneself for so long; False when somebody else has, or it is the present one no more."""
    leased = await session.execute(
        update(credentials)
        .where(
            credentials.c.connection_id == connection_id,
            credentials.c.version == version,
            func.coalesce(credentials.c.refreshing_until, func.now()) <= func.now(),
        )
        .values(refreshing_until=func.now() + lasting)
    )
    return bool(leased.rowcount)


async def release(session: TenantSession, connection_id: UUID, version: int) -> bool:
    """Let others refresh this version, and hold it; False when it is the present one no more."""
    released = await session.execute(
        update(credentials).where(*_of(connection_id, version)).values(refreshing_until=None)
    )
    return bool(released.rowcount)


async def replace(
    session: TenantSession, keyring: Keyring, connection_id: UUID, version: int, grant: Grant
) -> bool:
    """Keep a grant in place of this version; False when it is the present one no more."""
    replaced = await session.execute(
        update(credentials)
        .where(*_of(connection_id, version))
        .values(
            version=credentials.c.version + 1,
            refreshing_until=None,
            **_sealed(keyring, connection_id, grant),
        )
    )
    return bool(replaced.rowcount)


def _of(connection_id: UUID, version: int) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return credentials.c.connection_id == connection_id, credentials.c.version == version


def _sealed(keyring: Keyring, connection_id: UUID, grant: Grant) -> dict[str, Any]:
    def sealed(secret: Secret, column: str) -> bytes:
        return keyring.seal(secret.reveal().encode(), table=_TABLE, row=connection_id, column=column)

    refresh_token = grant.refresh_token and sealed(grant.refresh_token, "sealed_refresh_token")
    return {
        "sealed_token": sealed(grant.token, "sealed_token"),
        "sealed_refresh_token": refresh_token,
        "expires_at": None if grant.lifetime is None else func.now() + grant.lifetime,
    }


def _opened(keyring: Keyring, connection_id: UUID, row: Row[Any]) -> HeldGrant:
    def opened(column: str) -> Secret:
        return keyring.open(getattr(row, column), table=_TABLE, row=connection_id, column=column)

    has_refresh_token = row.sealed_refresh_token is not None
    return HeldGrant(
        version=row.version,
        token=opened("sealed_token"),
        refresh_token=opened("sealed_refresh_token") if has_refresh_token else None,
        remaining=row.remaining,
        is_refused=row.status == Status.NEEDS_AUTHORIZATION,
    )
