"""Wrapping all data keys again by the key-encryption key that wraps now, so that the one before can be given up.

Nothing that they have sealed is touched, and all of it can be read meanwhile. What was done is done: after a crash it goes
on with the rest.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import ColumnElement, and_, func, select, true, tuple_

from chassis.context import RequestContext
from chassis.database import Database, RoleDatabase
from chassis.vault.data_keys import StoredKey, rewrap_key, stored_keys
from chassis.vault.tables import data_keys
from chassis.vault.vault import Vault
from chassis.vault.wrapping import DoesNotOpen

# As many as connections, and as calls to a key service at once.
_AT_ONCE = 5
_BATCH = 100


@dataclass(slots=True)
class Rewrapped:
    """How far it is. What did not open stays as it is."""

    of: int
    done: int = 0
    did_not_open: int = 0


class Rewrapping:
    """Wraps again what others than the current key have wrapped, through the scheduler's role that finds it."""

    def __init__(
        self, database: Database, scheduler: RoleDatabase, vault: Vault, *, tell: Callable[[Rewrapped], None]
    ) -> None:
        self._database = database
        self._scheduler = scheduler
        self._vault = vault
        self._tell = tell

    async def run(self) -> Rewrapped:
        """All of them, telling after each batch. Raises Unavailable."""
        current = await self._vault.current_wrapping_key()
        wrapped_otherwise = data_keys.c.wrapping_key != current
        count = select(func.count(data_keys.c.version)).where(wrapped_otherwise)
        async with self._scheduler.transaction() as connection:
            so_far = Rewrapped(of=await connection.scalar(count) or 0)
        limit, after = asyncio.Semaphore(_AT_ONCE), None
        while batch := await self._next(wrapped_otherwise, after):
            after = batch[-1]
            await asyncio.gather(*(self._rewrap(limit, *key, so_far) for key in batch))
            self._tell(so_far)
        return so_far

    async def _next(
        self, wrapped_otherwise: ColumnElement[bool], after: tuple[UUID, int] | None
    ) -> list[tuple[UUID, int]]:
        place = tuple_(data_keys.c.organization_id, data_keys.c.version)
        further = place > after if after is not None else true()
        found = (
            select(data_keys.c.organization_id, data_keys.c.version)
            .where(and_(wrapped_otherwise, further))
            .order_by(data_keys.c.organization_id, data_keys.c.version)
            .limit(_BATCH)
        )
        async with self._scheduler.transaction() as connection:
            return [(row.organization_id, row.version) for row in await connection.execute(found)]

    async def _rewrap(
        self, limit: asyncio.Semaphore, organization: UUID, version: int, so_far: Rewrapped
    ) -> None:
        async with limit:
            # No transaction is open while the key service is asked.
            if (key := await self._stored(organization, version)) is None:
                return
            try:
                wrapped = await self._vault.rewrapped(organization, key)
            except DoesNotOpen:
                so_far.did_not_open += 1
                return
            async with self._database.tenant_transaction(_context(organization)) as session:
                is_done = await rewrap_key(session, key, wrapped)
            # Others have counted meanwhile.
            so_far.done += is_done

    async def _stored(self, organization: UUID, version: int) -> StoredKey | None:
        async with self._database.tenant_transaction(_context(organization), read_only=True) as session:
            keys = await stored_keys(session)
        return next((key for key in keys if key.version == version), None)


def _context(organization: UUID) -> RequestContext:
    return RequestContext.of_process("rewrap-keys", organization)
