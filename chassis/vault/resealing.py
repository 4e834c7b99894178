"""Sealing again what stands in envelopes that another key-encryption key has wrapped, or was sealed before there were any.

All of it can be read meanwhile. What was done is done: after a crash it goes on with the rest.
"""

from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, func, select, true, update

from chassis.database import RoleDatabase
from chassis.vault.envelope_columns import EnvelopeColumn
from chassis.vault.envelopes import Envelopes
from chassis.vault.rewrapping import Rewrapped
from chassis.vault.wrapping import DoesNotOpen

_BATCH = 100


class Resealing:
    """Seals the values of a column again, as the scheduler's role: no organization sees all of them."""

    def __init__(
        self,
        scheduler: RoleDatabase,
        envelopes: Envelopes,
        column: EnvelopeColumn,
        *,
        tell: Callable[[Rewrapped], None],
    ) -> None:
        self._scheduler = scheduler
        self._envelopes = envelopes
        self._row = column.table.c[column.row]
        self._sealed = column.table.c[column.column]
        self._column = column
        self._tell = tell

    async def run(self) -> Rewrapped:
        """All of them, telling after each batch. Raises Unavailable."""
        waiting = self._column.is_wrapped_otherwise(await self._envelopes.current_wrapping_key())
        count = select(func.count()).select_from(self._column.table).where(waiting)
        async with self._scheduler.transaction() as connection:
            so_far = Rewrapped(of=await connection.scalar(count) or 0)
        after: UUID | None = None
        while batch := await self._next(waiting, after):
            after = batch[-1].row
            for found in batch:
                await self._seal_again(found.row, bytes(found.sealed), so_far)
            self._tell(so_far)
        return so_far

    async def _next(self, waiting: ColumnElement[bool], after: UUID | None) -> Sequence[Any]:
        further = self._row > after if after is not None else true()
        found = (
            select(self._row.label("row"), self._sealed.label("sealed"))
            .where(and_(waiting, further))
            .order_by(self._row)
            .limit(_BATCH)
        )
        async with self._scheduler.transaction() as connection:
            return (await connection.execute(found)).all()

    async def _seal_again(self, row: UUID, former: bytes, so_far: Rewrapped) -> None:
        # No transaction is open while the key service is asked.
        try:
            sealed = await self._envelopes.sealed_again(former, row=row)
        except DoesNotOpen:
            so_far.did_not_open += 1
            return
        # Unless something else stands there by now.
        replaced = (
            update(self._column.table)
            .where(self._row == row, self._sealed == former)
            .values({self._sealed: sealed})
        )
        async with self._scheduler.transaction() as connection:
            so_far.done += (await connection.execute(replaced)).rowcount
