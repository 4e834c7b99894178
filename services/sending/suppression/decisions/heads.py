"""The ends of chains that nothing can be added to any more."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from sqlalchemy import text

from chassis.database import RoleDatabase

_PAGE = 1_000
# For the scheduler's role.
_HEADS = text("""
    SELECT organization_id, length, head FROM sending.decision_chains
    WHERE day = :day AND closed_at IS NOT NULL AND organization_id > :after ORDER BY organization_id LIMIT :size
""")


@dataclass(frozen=True, slots=True)
class Head:
    """How long an organization's chain of a day is, and the hash of its last decision."""

    organization_id: UUID
    length: int
    head: bytes

    def __str__(self) -> str:
        return f"{self.organization_id} {self.length} {self.head.hex()}"


async def heads_of(database: RoleDatabase, day: date) -> AsyncIterator[Head]:
    """Those of all organizations' chains of a day that is closed."""
    after = UUID(int=0)
    while True:
        async with database.transaction() as connection:
            found = await connection.execute(_HEADS, {"day": day, "after": after, "size": _PAGE})
            page = [Head(**row) for row in found.mappings()]
        for head in page:
            yield head
        if len(page) < _PAGE:
            return
        after = page[-1].organization_id
