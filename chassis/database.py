"""PostgreSQL under row-level security: every session belongs to the organization of a verified context.

`tenant_transaction` is the only way to a tenant's rows. No function here takes an organization: it comes out of the
context and is set for the transaction alone, so that a pooled connection carries nothing over to its next user.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self
from uuid import UUID

from google.protobuf.message import Message
from sqlalchemy import CursorResult, Executable
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis import outbox
from chassis.connections import ConnectionPool, Driver, committing
from chassis.context import RequestContext
from chassis.identifiers import new_id
from chassis.secret import Secret


class TenantSession:
    """One transaction in one organization. The boundary that opened it commits; nobody else does."""

    def __init__(
        self, context: RequestContext, connection: AsyncConnection, driver: Driver, *, is_read_only: bool
    ) -> None:
        self.context = context
        self.is_read_only = is_read_only
        self._connection = connection
        self._driver = driver
        self._events: list[outbox.Outgoing] = []

    @property
    def driver(self) -> Driver:
        """The psycopg connection underneath, for what SQLAlchemy cannot say: COPY."""
        return self._driver

    async def execute(
        self, statement: Executable, parameters: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None
    ) -> CursorResult[Any]:
        """Execute a statement; it sees and touches the organization's rows only."""
        return await self._connection.execute(statement, parameters)

    async def scalar(self, statement: Executable, parameters: Mapping[str, Any] | None = None) -> Any:
        """The first column of the first row, or None."""
        return await self._connection.scalar(statement, parameters)

    def publish(self, event: Message, event_id: UUID | None = None, *, trace: str = "") -> UUID:
        """Let an event go out once the transaction has committed, and not otherwise. Answers the id that it goes by.

        It is this one, where what the event holds is bound to it, and else a fresh one. `trace` is the traceparent that it goes on
        with, where that is not the transaction's.
        """
        outgoing = outbox.Outgoing(event, event_id or new_id(), trace)
        self._events.append(outgoing)
        return outgoing.id

    @property
    def has_published(self) -> bool:
        """Whether there are events."""
        return bool(self._events)

    async def write_outbox(self) -> None:
        """Write the published events as rows of this transaction."""
        await outbox.write(self._driver, self.context.organization, self._events)


class Database:
    """The tenant's tables of one schema, through the role that row-level security binds."""

    def __init__(self, url: Secret, *, schema: str, pool_size: int = 5) -> None:
        self._pool = ConnectionPool(url, size=pool_size, settings={"search_path": schema})
        self.outbox_written = asyncio.Event()

    async def __aenter__(self) -> Self:
        """Exits the process when the role is not bound by row-level security."""
        await self._pool.refuse_a_powerful_role()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._pool.close()

    async def ready(self) -> bool:
        """Whether the database answers, for the readiness of the process."""
        async with self.platform_transaction():
            return True

    @asynccontextmanager
    async def tenant_transaction(
        self, context: RequestContext, read_only: bool = False
    ) -> AsyncIterator[TenantSession]:
        """A session in the context's organization, committed with its events at the end of the block.

        Raises MissingOrganization when the context has none, Unavailable when the database does not answer or asks
        to repeat the transaction.
        """
        opening = _opening(context.organization, read_only)
        async with self._pool.transaction(opening) as (connection, driver):
            session = TenantSession(context, connection, driver, is_read_only=read_only)
            yield session
            if session.has_published:
                async with committing(driver):
                    await session.write_outbox()
        if session.has_published:
            self.outbox_written.set()

    @asynccontextmanager
    async def platform_transaction(self) -> AsyncIterator[AsyncConnection]:
        """A transaction outside of any organization: it sees the schema's platform tables, and no tenant's row."""
        async with self._pool.transaction() as (connection, _):
            yield connection


class RoleDatabase:
    """A named role that sees a few tables across all tenants: relay, scheduler, look-up, platform."""

    def __init__(self, url: Secret, *, pool_size: int = 2) -> None:
        self._pool = ConnectionPool(url, size=pool_size)

    async def __aenter__(self) -> Self:
        """Exits the process when the role may do more than its grants say."""
        await self._pool.refuse_a_powerful_role()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._pool.close()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """A transaction, committed at the end of the block; raises Unavailable as `tenant_transaction` does."""
        async with self._pool.transaction() as (connection, _):
            yield connection


def _opening(organization: UUID, read_only: bool) -> str:
    # Two statements in one round trip leave no place for a bound parameter; a UUID's digits need no quoting.
    begin = "BEGIN READ ONLY" if read_only else "BEGIN"
    return f"{begin}; SET LOCAL app.organization_id = '{UUID(int=organization.int)}'"
