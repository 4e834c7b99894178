"""Which columns of a schema hold what its vault sealed: `rotate-data-keys` seals them again.

A service lists all of its own; a column is named `sealed_…` or `…_sealed`, by which a test finds those that are not listed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Table, exists, func, literal, select, update

from chassis.database import TenantSession
from chassis.vault.keyring import FORMAT


@dataclass(frozen=True, slots=True)
class SealedColumn:
    """A column of a tenant table; `row` is the column with the UUID that its values are bound to.

    The scheduler's role sees the table's `organization_id`.
    """

    table: Table
    column: str
    row: str = "id"

    def organizations(self) -> Select[UUID]:
        """Whoever has a row."""
        return select(self.table.c.organization_id).distinct()

    async def sealed_by_others(
        self, session: TenantSession, key_id: UUID, after: UUID | None, limit: int
    ) -> Sequence[Any]:
        """Rows (`row`, `sealed`) whose values another key than this one has sealed, in order from after one of them."""
        row, sealed = self.table.c[self.row], self.table.c[self.column]
        found = select(row.label("row"), sealed.label("sealed")).where(
            sealed.is_not(None), _sealed_by(sealed) != FORMAT + key_id.bytes
        )
        if after is not None:
            found = found.where(row > after)
        return (await session.execute(found.order_by(row).limit(limit))).all()

    async def replace(self, session: TenantSession, row: UUID, former: bytes, sealed: bytes) -> bool:
        """Store what was sealed again; False when something else stands there by now."""
        changed = await session.execute(
            update(self.table)
            .where(self.table.c[self.row] == row, self.table.c[self.column] == former)
            .values({self.column: sealed})
        )
        return bool(changed.rowcount)

    async def holds_others(self, session: TenantSession, key_id: UUID) -> bool:
        """Whether a value is left that another key than this one has sealed."""
        sealed = self.table.c[self.column]
        left = exists().where(sealed.is_not(None), _sealed_by(sealed) != FORMAT + key_id.bytes)
        return bool(await session.scalar(select(left)))


def _sealed_by(sealed: ColumnElement[bytes]) -> ColumnElement[bytes]:
    return func.substr(sealed, literal(1), literal(len(FORMAT) + 16))
