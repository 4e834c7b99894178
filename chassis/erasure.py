"""Erasing an organization from a schema: every row of it, in sets, and again for as long as anything may bring one. Why so: ADR 0060.

Which tables there are, and what refers to what, is asked of the catalog: a new table is not forgotten.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from graphlib import TopologicalSorter
from typing import Any
from uuid import UUID

from google.protobuf.message import Message
from sqlalchemy import Row, TextClause, text

from chassis.consumer import Handler, idempotent
from chassis.context import RequestContext
from chassis.database import Database, RoleDatabase
from chassis.scheduler import Scheduler

_INTERVAL = timedelta(minutes=1)
_MOST_IN_A_SET = 5_000
# Of a table that outlives organizations.
EVERY_ROW = "true"
# A day longer than streams keep what may still be read.
_WATCHED = timedelta(days=8)

_TABLES = text("""
    SELECT c.oid::regclass::text AS name, ARRAY(
        SELECT k.conrelid::regclass::text FROM pg_constraint k WHERE k.contype = 'f' AND k.confrelid = c.oid
    ) AS referred_to_by
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'organization_id'
    WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p')
      AND c.relrowsecurity AND NOT c.relispartition AND c.relname NOT IN ('erasures', 'standstills')
    ORDER BY c.relname
""")
# For a named role: the app role, which deletes, is not to say whose rows may be deleted.
_NOTE = text("INSERT INTO erasures (organization_id) VALUES (:organization_id) ON CONFLICT DO NOTHING")
# Whoever holds it is at it, and does what is left.
_HOLD = text("SELECT true FROM erasures FOR UPDATE SKIP LOCKED")
# By the keys, which begin with the organization: the planner knows how many rows an organization has on average, and not that its own
# may stand at the end of a long table.
_BY_KEY = text(
    "SELECT set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true)"
)
_LOOKED = text("""
    UPDATE erasures SET erased_at = coalesce(erased_at, now()), next_look_at = CASE
        WHEN asked_at > now() - CAST(:watched AS interval) THEN now() + interval '1 hour' ELSE 'infinity'
    END
""")
# For the scheduler's role.
_DUE = text("""
    SELECT organization_id, organization_id AS id FROM erasures
    WHERE next_look_at <= now() ORDER BY next_look_at LIMIT 16
""")


class Erasures:
    """Erases organizations from one schema, once it has heard that they are erased.

    `noted` is the role that notes who is erased, where that is not the scheduler's. `stays` says by table, in SQL, which rows outlive the
    organization.
    """

    def __init__(
        self,
        database: Database,
        scheduler: RoleDatabase,
        *,
        process: str,
        noted: RoleDatabase | None = None,
        stays: Mapping[str, str] | None = None,
        most_in_a_set: int = _MOST_IN_A_SET,
    ) -> None:
        self._database = database
        self._noted = noted or scheduler
        self._stays = stays or {}
        self._most = most_in_a_set
        self._scheduler = Scheduler(scheduler, _DUE, _INTERVAL, self._look_again, process=process)

    @property
    def handler(self) -> Handler:
        """What a reader does when it hears of an erasure."""
        return idempotent(self._on_erased)

    async def run(self) -> None:
        """Go on with what was cut off, and look again for what came late, until cancelled."""
        await self._scheduler.run()

    async def round(self) -> None:
        """Look at those whose time it is."""
        await self._scheduler.round()

    async def note(self, organization_id: UUID) -> None:
        """Note that an organization is to be erased here. Noted again it changes nothing."""
        async with self._noted.transaction() as connection:
            await connection.execute(_NOTE, {"organization_id": organization_id})

    async def carry_out(self, context: RequestContext) -> None:
        """Erase the context's organization, if that was noted. Who comes while another is at it leaves it to them."""
        deletions = await self._deletions()
        # What goes may leave a trace elsewhere, as triggers do: nothing is left once nothing was found.
        while gone := await self._sweep(deletions, context):
            pass
        if gone is not None:
            async with self._database.tenant_transaction(context) as session:
                await session.execute(_LOOKED, {"watched": _WATCHED})

    async def _sweep(self, deletions: Sequence[TextClause], context: RequestContext) -> int | None:
        """Go through all tables once; how many rows that was, or None where it is another's to do."""
        gone = 0
        for deletion in deletions:
            deleted = self._most
            # A transaction for each set: nothing is locked for long, and what is gone is gone.
            while deleted >= self._most:
                async with self._database.tenant_transaction(context) as session:
                    if not await session.scalar(_HOLD):
                        return None
                    await session.execute(_BY_KEY)
                    deleted = (await session.execute(deletion)).rowcount
                gone += deleted
        return gone

    async def _on_erased(self, _: Message, context: RequestContext) -> None:
        await self.note(context.organization)
        await self.carry_out(context)

    async def _look_again(self, context: RequestContext, _: object) -> None:
        await self.carry_out(context)

    async def _deletions(self) -> list[TextClause]:
        """Whoever refers to a row goes before it."""
        async with self._database.platform_transaction() as connection:
            tables = {row.name: row for row in await connection.execute(_TABLES)}
        order = TopologicalSorter(
            {name: set(row.referred_to_by) & tables.keys() - {name} for name, row in tables.items()}
        )
        return [
            self._deletion(tables[name])
            for name in order.static_order()
            if self._stays.get(name) != EVERY_ROW
        ]

    def _deletion(self, table: Row[Any]) -> TextClause:
        # Rows that refer to others of their table go in one statement: a set might be referred to by what is not in it.
        limit = "" if table.name in table.referred_to_by else f"LIMIT {self._most}"
        stays = self._stays.get(table.name, "false")
        return text(
            f"DELETE FROM {table.name} WHERE NOT ({stays}) AND ctid = ANY (ARRAY("  # noqa: S608 - of the catalog's names and our own words
            f"SELECT ctid FROM {table.name} WHERE NOT ({stays}) {limit}))"
        )
