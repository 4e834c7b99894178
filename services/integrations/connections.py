"""Connections: which accounts of CRMs an organization has connected, by whom, and how they are."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import Row, delete, func, literal_column, select, update
from sqlalchemy.dialects.postgresql import insert

from chassis.context import ActorKind, RequestContext
from chassis.database import TenantSession
from chassis.errors import NotFound
from chassis.identifiers import new_id
from flownurture.audit.v1.acts_pb2 import AuditedAct
from flownurture.integrations.v1 import connections_pb2 as pb
from flownurture.integrations.v1.events_pb2 import (
    ConnectionDisconnected,
    ConnectionEstablished,
    ConnectionNeedsAuthorization,
)
from services.integrations.acts import tell
from services.integrations.crm.providers import PROVIDERS
from services.integrations.tables import connections

_MOST_CHARACTERS_OF_AN_ERROR = 500


class Method(StrEnum):
    """How an account was connected."""

    OAUTH = "oauth"
    API_KEY = "api_key"


class Status(StrEnum):
    """How a connection is."""

    ACTIVE = "active"
    NEEDS_AUTHORIZATION = "needs_authorization"


class ConnectorKind(StrEnum):
    """What somebody is who connects an account."""

    USER = "user"
    API_KEY = "api_key"


@dataclass(frozen=True, slots=True)
class Connector:
    """Who connects an account."""

    id: UUID
    kind: ConnectorKind

    @classmethod
    def of(cls, context: RequestContext) -> "Connector":
        """Whoever a request is by."""
        kind = ConnectorKind.API_KEY if context.actor_kind is ActorKind.API_KEY else ConnectorKind.USER
        return cls(UUID(context.actor_id), kind)


@dataclass(frozen=True, slots=True)
class Account:
    """An account of a CRM, as it says itself, and where its interface is."""

    provider: str
    id: str
    name: str
    base_url: str


@dataclass(frozen=True, slots=True)
class Connection:
    """A connection, without anything of it that is secret."""

    id: UUID
    provider: str
    method: Method
    status: Status
    account_id: str
    account_name: str
    base_url: str
    scopes: Sequence[str]
    connected_by: UUID
    connected_by_kind: ConnectorKind
    last_error: str
    last_error_at: datetime | None
    last_sync_at: datetime | None
    # The CRM shows what happens to its contacts' mail.
    logs_activities: bool
    created_at: datetime
    updated_at: datetime


_COLUMNS = [connections.c[name] for name in Connection.__dataclass_fields__]


async def establish(
    session: TenantSession, account: Account, method: Method, scopes: Sequence[str], by: Connector
) -> Connection:
    """Connect an account, or again the one that is connected: it stays the same connection, with nothing wrong about it."""
    values = {
        "method": method,
        "account_name": account.name,
        "base_url": account.base_url,
        "scopes": list(scopes),
        "connected_by": by.id,
        "connected_by_kind": by.kind,
    }
    statement = insert(connections).values(
        id=new_id(), provider=account.provider, account_id=account.id, **values
    )
    written = await session.execute(
        statement.on_conflict_do_update(
            index_elements=["organization_id", "provider", "account_id"],
            set_=values
            | {
                "status": Status.ACTIVE,
                "last_error": "",
                "last_error_at": None,
                "updated_at": func.now(),
            },
        ).returning(*_COLUMNS, literal_column("xmax <> 0").label("again"))
    )
    row = written.one()
    connection = _connection(row)
    session.publish(
        ConnectionEstablished(
            connection_id=str(connection.id),
            provider=provider_value(connection.provider),
            account_name=connection.account_name,
            again=row.again,
        )
    )
    tell(session, AuditedAct.KIND_INTEGRATION_CONNECTED, connection.id, after=_facts(connection))
    return connection


async def get_connection(session: TenantSession, connection_id: UUID) -> Connection:
    """The connection. Raises NotFound."""
    found = await session.execute(select(*_COLUMNS).where(connections.c.id == connection_id))
    row = found.one_or_none()
    if row is None:
        raise no_such(connection_id)
    return _connection(row)


async def hold_connection(session: TenantSession, connection_id: UUID) -> Connection | None:
    """The connection, as nobody else changes it until the transaction ends; None where it is gone."""
    found = await session.execute(
        select(*_COLUMNS).where(connections.c.id == connection_id).with_for_update(key_share=True)
    )
    row = found.one_or_none()
    return None if row is None else _connection(row)


async def page_connections(
    session: TenantSession, *, connected_by: UUID | None, before: UUID | None, size: int
) -> list[Connection]:
    """Up to `size` connections, newest first, that are older than `before`; only those that somebody connected."""
    wanted = select(*_COLUMNS).order_by(connections.c.id.desc()).limit(size)
    if connected_by is not None:
        wanted = wanted.where(connections.c.connected_by == connected_by)
    if before is not None:
        wanted = wanted.where(connections.c.id < before)
    return [_connection(row) for row in await session.execute(wanted)]


async def show_activities(session: TenantSession, connection_id: UUID, logs_activities: bool) -> Connection:
    """Have the CRM show what happens to mail from now on, or not. Raises NotFound."""
    changed = await session.execute(
        update(connections)
        .where(connections.c.id == connection_id)
        .values(logs_activities=logs_activities, updated_at=func.now())
        .returning(*_COLUMNS)
    )
    row = changed.one_or_none()
    if row is None:
        raise no_such(connection_id)
    return _connection(row)


async def remove(session: TenantSession, connection_id: UUID) -> Connection:
    """Delete it and all that belongs to it. Raises NotFound."""
    removed = await session.execute(
        delete(connections).where(connections.c.id == connection_id).returning(*_COLUMNS)
    )
    row = removed.one_or_none()
    if row is None:
        raise no_such(connection_id)
    connection = _connection(row)
    session.publish(
        ConnectionDisconnected(
            connection_id=str(connection.id),
            provider=provider_value(connection.provider),
            account_name=connection.account_name,
        )
    )
    tell(session, AuditedAct.KIND_INTEGRATION_DISCONNECTED, connection.id, before=_facts(connection))
    return connection


async def ask_for_authorization(session: TenantSession, connection_id: UUID, why: str) -> None:
    """Note that the CRM no longer takes what it was connected with, and tell of it, once."""
    changed = await session.execute(
        update(connections)
        .where(connections.c.id == connection_id, connections.c.status == Status.ACTIVE)
        .values(status=Status.NEEDS_AUTHORIZATION, updated_at=func.now(), **_error(why))
        .returning(connections.c.provider, connections.c.account_name)
    )
    row = changed.one_or_none()
    if row is not None:
        session.publish(
            ConnectionNeedsAuthorization(
                connection_id=str(connection_id),
                provider=provider_value(row.provider),
                account_name=row.account_name,
                provider_title=PROVIDERS[row.provider].title,
            )
        )


async def note_synced(session: TenantSession, connection_id: UUID) -> None:
    """All is well with it, as of now."""
    await session.execute(
        update(connections)
        .where(connections.c.id == connection_id)
        .values(last_sync_at=func.now(), last_error="", last_error_at=None)
    )


async def note_failure(session: TenantSession, connection_id: UUID, why: str) -> None:
    """It could not be synced."""
    await session.execute(update(connections).where(connections.c.id == connection_id).values(**_error(why)))


def provider_value(name: str) -> pb.Provider.ValueType:
    """A CRM as the contract names it."""
    return pb.Provider.Value(f"PROVIDER_{name.upper()}")


def no_such(connection_id: UUID) -> NotFound:
    """What is said of a connection that is not there."""
    return NotFound(f"connection as {connection_id}")


def _error(why: str) -> dict[str, Any]:
    return {
        "last_error": why[:_MOST_CHARACTERS_OF_AN_ERROR],
        "last_error_at": func.now(),
    }


def _facts(connection: Connection) -> dict[str, str]:
    # Of the account its id alone: its name may be a person's.
    return {
        "provider": connection.provider,
        "method": connection.method,
        "account_id": connection.account_id,
    }


def _connection(row: Row[Any]) -> Connection:
    values = {name: getattr(row, name) for name in Connection.__dataclass_fields__}
    return Connection(
        **values
        | {
            "method": Method(row.method),
            "status": Status(row.status),
            "connected_by_kind": ConnectorKind(row.connected_by_kind),
        }
    )
