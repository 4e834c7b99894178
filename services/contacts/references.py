"""That what a request refers to by id is there, in this organization; whatever is not is told as if it did not exist."""

from collections.abc import Collection, Iterable
from uuid import UUID

from sqlalchemy import Select, Table, select

from chassis.database import TenantSession
from chassis.errors import NotFound
from services.contacts.sets import among

# An error names as many of the ids that do not exist.
_MOST_NAMED = 10


async def require(session: TenantSession, what: str, table: Table, ids: Collection[UUID]) -> None:
    """Raises NotFound that names those of the ids that are not in the table."""
    found = await session.execute(_ids_among(table, ids))
    _refuse_missing(what, ids, found.scalars())


async def hold(session: TenantSession, what: str, table: Table, ids: Collection[UUID]) -> None:
    """As `require`, and keep the rows from being deleted until the transaction ends."""
    _refuse_missing(what, ids, await hold_those_of(session, table, ids))


async def hold_those_of(session: TenantSession, table: Table, ids: Collection[UUID]) -> set[UUID]:
    """Those of the ids that are in the table, whose rows are kept from being deleted until the transaction ends."""
    found = await session.execute(_ids_among(table, ids).with_for_update(key_share=True, read=True))
    return set(found.scalars())


async def hold_for_change(session: TenantSession, table: Table, ids: Collection[UUID]) -> set[UUID]:
    """The same, and nobody else changes the rows meanwhile: for several changes, which others could cross in another order."""
    found = await session.execute(_ids_among(table, ids).with_for_update(key_share=True))
    return set(found.scalars())


def no_such(what: str, ids: Collection[UUID]) -> NotFound:
    """The error that names them."""
    named = ", ".join(map(str, sorted(ids)[:_MOST_NAMED]))
    more = f" and {len(ids) - _MOST_NAMED} more" if len(ids) > _MOST_NAMED else ""
    return NotFound(f"{what} as {named}{more}")


def _ids_among(table: Table, ids: Collection[UUID]) -> Select[tuple[UUID]]:
    return select(table.c.id).where(among(table.c.id, ids)).order_by(table.c.id)


def _refuse_missing(what: str, ids: Collection[UUID], found: Iterable[UUID]) -> None:
    if missing := set(ids).difference(found):
        raise no_such(what, missing)
