"""Whose date it is: contacts with a custom field that holds one of some days, or its anniversary, by the clocks they live by.

Values have no index, as fields are declared by the organization. So contacts are looked through by ascending id, a bounded number
of them in a statement and a transaction: who asks holds nothing, and what it costs is one look at each.
"""

from calendar import isleap
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text

from chassis.context import RequestContext
from chassis.database import Database, TenantSession
from services.contacts.custom_fields import FieldType, read_fields

# How many contacts a statement looks at.
_WINDOW = 20_000


@dataclass(frozen=True, slots=True)
class OccasionDay:
    """A day, and by whose clocks: those of zones by their names, the empty one for contacts whose zone is not known."""

    day: date
    time_zones: frozenset[str]


# Contact id, digest of the address, and the day it is.
Occasion = Row[Any]

_FIND = text("""
    WITH looked_at AS MATERIALIZED (
        SELECT id, email_digest, time_zone, custom_fields ->> CAST(:number AS text) AS value FROM contacts
        WHERE id > CAST(:after AS uuid) ORDER BY id LIMIT :window
    ), wanted AS MATERIALIZED (
        SELECT * FROM unnest(
            CAST(:places AS int[]), CAST(:days AS date[]), CAST(:values AS text[]), CAST(:zones AS text[])
        ) AS wanted (place, day, value, time_zone)
    ), found AS (
        SELECT DISTINCT ON (looked_at.id) looked_at.id, looked_at.email_digest, wanted.day
        FROM looked_at JOIN wanted
            ON wanted.value = CASE WHEN :yearly THEN right(looked_at.value, 5) ELSE looked_at.value END
            AND wanted.time_zone = looked_at.time_zone
        WHERE NOT :yearly OR left(looked_at.value, 4) <= left(CAST(wanted.day AS text), 4)
        ORDER BY looked_at.id, wanted.place
    )
    SELECT found.id, found.email_digest, found.day, last.id AS last_id
    FROM (SELECT id FROM looked_at ORDER BY id DESC LIMIT 1) AS last LEFT JOIN found ON true
    ORDER BY found.id
""")


async def stream_occasions(
    database: Database,
    context: RequestContext,
    key: str,
    days: Sequence[OccasionDay],
    *,
    yearly: bool,
    after: UUID | None,
    size: int,
    window: int = _WINDOW,
) -> AsyncIterator[Sequence[Occasion]]:
    """Batches of up to `size` contacts behind `after`, by ascending id, none of them empty and each contact once.

    With `yearly` month and day count, from the year of the field's date on; a 29th of February is the 28th in years without it.
    """
    looked: UUID | None = after or UUID(int=0)
    while looked is not None:
        async with database.tenant_transaction(context, read_only=True) as session:
            found, looked = await _look(session, key, days, yearly=yearly, after=looked, window=window)
        for start in range(0, len(found), size):
            yield found[start : start + size]


async def _look(
    session: TenantSession, key: str, days: Sequence[OccasionDay], *, yearly: bool, after: UUID, window: int
) -> tuple[Sequence[Occasion], UUID | None]:
    """The occasions among the next contacts, and the last of these; None when there was none to look at."""
    field = (await read_fields(session)).get(key)
    if field is None or field.type is not FieldType.DATE:
        return (), None
    wanted = [
        (place, each.day, value, zone)
        for place, each in enumerate(days)
        for value in _values_of(each.day, yearly=yearly)
        for zone in each.time_zones
    ]
    rows = (
        await session.execute(
            _FIND,
            {
                "number": str(field.number),
                "after": after,
                "window": window,
                "yearly": yearly,
                "places": [place for place, _, _, _ in wanted],
                "days": [day for _, day, _, _ in wanted],
                "values": [value for _, _, value, _ in wanted],
                "zones": [zone for _, _, _, zone in wanted],
            },
        )
    ).all()
    return [row for row in rows if row.id is not None], rows[0].last_id if rows else None


def _values_of(day: date, *, yearly: bool) -> Iterator[str]:
    """What of a field's value is compared, and is this day: the whole of it, or the month and day."""
    if not yearly:
        yield day.isoformat()
        return
    yield day.isoformat()[-5:]
    if (day.month, day.day) == (2, 28) and not isleap(day.year):
        yield "02-29"
