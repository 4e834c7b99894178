"""New data keys for organizations, and sealing again by them whatever the keys before have sealed.

An organization goes through it in three steps, each of which a crash may interrupt: it gets a further key; once all
processes have heard of that, its values are sealed again by it, each as long as nobody has changed it; once all processes
seal by it, and nothing is left that another has sealed, the keys before are destroyed. All can be read and written meanwhile.
"""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, union

from chassis.context import RequestContext
from chassis.database import Database, RoleDatabase, TenantSession
from chassis.identifiers import new_id
from chassis.vault.data_keys import PACE, Pace, StoredKey, add_key, retire_keys, sealing_key, stored_keys
from chassis.vault.keyring import Keyring
from chassis.vault.sealed_columns import SealedColumn
from chassis.vault.tables import data_keys
from chassis.vault.vault import Vault
from chassis.vault.wrapping import DoesNotOpen

_BATCH = 100
_NO_KEY = UUID(int=0)


@dataclass(slots=True)
class Rotated:
    """How far it is. What did not open stays as it is, and so do the keys before of whose organization it is."""

    organizations: int = 0
    finished: int = 0
    keys: int = 0
    values: int = 0
    did_not_open: int = 0


class Rotation:
    """Replaces the data keys of a schema; `vault` is one that remembers nothing (`known_organizations=0`)."""

    def __init__(
        self,
        database: Database,
        scheduler: RoleDatabase,
        vault: Vault,
        columns: Sequence[SealedColumn],
        *,
        tell: Callable[[Rotated], None],
        pause: Callable[[float], Awaitable[None]],
        pace: Pace = PACE,
    ) -> None:
        self._database = database
        self._scheduler = scheduler
        self._vault = vault
        self._columns = columns
        self._tell = tell
        self._pause = pause
        self._pace = pace

    async def run(self, made_before: datetime) -> Rotated:
        """Replace each key that was made before this time, and finish what another run began. Raises Unavailable."""
        so_far = Rotated()
        waiting = await self._organizations()
        so_far.organizations = len(waiting)
        for organization in await self._with_keys_made_before(made_before):
            so_far.keys += await self._further_key(organization)
        while waiting:
            waiting = [one for one in waiting if not await self._finished(one, so_far)]
            if waiting:
                await self._pause(self._pace.settled_after.total_seconds())
        return so_far

    async def _organizations(self) -> list[UUID]:
        """Who has keys, or values that were sealed before there were any."""
        who = union(
            select(data_keys.c.organization_id), *(column.organizations() for column in self._columns)
        )
        async with self._scheduler.transaction() as connection:
            return list((await connection.execute(who)).scalars())

    async def _with_keys_made_before(self, moment: datetime) -> list[UUID]:
        old = (
            select(data_keys.c.organization_id)
            .group_by(data_keys.c.organization_id)
            .having(func.max(data_keys.c.created_at) < moment)
        )
        async with self._scheduler.transaction() as connection:
            return list((await connection.execute(old)).scalars())

    async def _further_key(self, organization: UUID) -> bool:
        async with self._session(organization) as session:
            if not (keys := await stored_keys(session)):
                return False
            key_id, version = new_id(), keys[-1].version + 1
            wrapped = await self._vault.wrapped_key(organization, key_id, version)
            return await add_key(session, key_id, version, wrapped)

    async def _finished(self, organization: UUID, so_far: Rotated) -> bool:
        try:
            is_finished = await self._taken_on(organization, so_far)
        except DoesNotOpen:
            # A key of the organization itself.
            so_far.did_not_open += 1
            is_finished = True
        so_far.finished += is_finished
        self._tell(so_far)
        return is_finished

    async def _taken_on(self, organization: UUID, so_far: Rotated) -> bool:
        """Whether nothing is left to do for it."""
        keys = await self._keys(organization)
        if not keys:
            return True
        newest = keys[-1]
        if sealing_key(keys, self._pace) is not newest:
            return False
        lost = so_far.did_not_open
        for column in self._columns:
            await self._seal_again(organization, column, newest, so_far)
        if len(keys) == 1 or so_far.did_not_open > lost:
            return True
        if newest.age < 2 * self._pace.settled_after:
            return False
        return await self._retire(organization, newest)

    async def _keys(self, organization: UUID) -> Sequence[StoredKey]:
        """Its keys, with the first one made if it has values that no key of its own has sealed."""
        async with self._session(organization) as session:
            if not await stored_keys(session) and await self._holds_others(session, _NO_KEY):
                await self._vault.keyring(session)
            return await stored_keys(session)

    async def _seal_again(
        self, organization: UUID, column: SealedColumn, newest: StoredKey, so_far: Rotated
    ) -> None:
        after: UUID | None = None
        while True:
            async with self._session(organization) as session:
                rows = await column.sealed_by_others(session, newest.id, after, _BATCH)
                if not rows:
                    return
                keyring = await self._vault.keyring(session)
                for row in rows:
                    await self._seal_one_again(session, keyring, column, row, so_far)
                after = rows[-1].row

    async def _seal_one_again(
        self, session: TenantSession, keyring: Keyring, column: SealedColumn, found: Any, so_far: Rotated
    ) -> None:
        former, table, row, name = bytes(found.sealed), column.table.name, found.row, column.column
        try:
            plain = keyring.open_bytes(former, table=table, row=row, column=name).reveal()
        except DoesNotOpen:
            so_far.did_not_open += 1
            return
        sealed = keyring.seal(plain, table=table, row=row, column=name)
        so_far.values += await column.replace(session, row, former, sealed)

    async def _retire(self, organization: UUID, newest: StoredKey) -> bool:
        async with self._session(organization) as session:
            if await self._holds_others(session, newest.id):
                return False
            await retire_keys(session, newest)
            return True

    async def _holds_others(self, session: TenantSession, key_id: UUID) -> bool:
        for column in self._columns:
            if await column.holds_others(session, key_id):
                return True
        return False

    def _session(self, organization: UUID) -> AbstractAsyncContextManager[TenantSession]:
        return self._database.tenant_transaction(RequestContext.of_process("rotate-data-keys", organization))
