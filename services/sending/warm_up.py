"""The warm-up of an address: how much it may hand over on a day, by the schedule of `warm_up.toml`.

What is taken is counted in the transaction that claims, so that several processes keep to one volume together.
"""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from functools import cache
from importlib import resources
from uuid import UUID

from sqlalchemy import text

from chassis.database import TenantSession

_TODAY = "(now() AT TIME ZONE 'utc')::date"
# How many days of its schedule an address has behind it.
_BEHIND = f"""
    SELECT count(*) FROM ip_pool_days AS earlier
    WHERE earlier.organization_id = address.organization_id AND earlier.address_id = address.id
      AND earlier.day < {_TODAY} AND 2 * earlier.handed_over >= earlier.allowed
"""  # noqa: S608 - of our own words alone
_TAKE = text(f"""
    INSERT INTO ip_pool_days AS today (address_id, day, allowed, handed_over)
    SELECT address.id, {_TODAY}, volume.messages, least(volume.messages, :wanted)
    FROM ip_pool_addresses AS address
    JOIN unnest(CAST(:volumes AS integer[])) WITH ORDINALITY AS volume (messages, day) ON volume.day = ({_BEHIND}) + 1
    WHERE address.id = :address_id
    ON CONFLICT (organization_id, address_id, day)
    DO UPDATE SET handed_over = least(today.allowed, today.handed_over + :wanted)
    RETURNING new.handed_over - coalesce(old.handed_over, 0) AS taken
""")  # noqa: S608
_IS_WARM = text("UPDATE ip_pool_addresses SET warm_at = now() WHERE id = :address_id")
_GIVE_BACK = text(f"""
    UPDATE ip_pool_days SET handed_over = greatest(0, handed_over - :number)
    WHERE address_id = :address_id AND day = {_TODAY}
""")  # noqa: S608
_STANDINGS = text(f"""
    SELECT address.id, ({_BEHIND}) + 1 AS day, today.allowed, coalesce(today.handed_over, 0) AS used
    FROM ip_pool_addresses AS address
    LEFT JOIN ip_pool_days AS today
      ON today.organization_id = address.organization_id AND today.address_id = address.id AND today.day = {_TODAY}
    WHERE address.ip_pool_id = :ip_pool_id AND address.warm_at IS NULL
""")  # noqa: S608


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an address is in its schedule today; the first day is 1."""

    day: int
    allowed: int
    used: int


@cache
def volumes() -> Sequence[int]:
    """How much each day of the schedule allows."""
    document = tomllib.loads(resources.files(__package__).joinpath("warm_up.toml").read_text("utf-8"))
    return tuple(document["volumes"])


async def take(session: TenantSession, address_id: UUID, wanted: int) -> int:
    """Count messages of an address that is not warm in today's volume; answers how many of them still fit."""
    row = await session.execute(
        _TAKE, {"address_id": address_id, "wanted": wanted, "volumes": list(volumes())}
    )
    taken = row.scalar_one_or_none()
    if taken is None:
        # It has the last day behind it.
        await session.execute(_IS_WARM, {"address_id": address_id})
        return wanted
    return int(taken)


async def give_back(session: TenantSession, address_id: UUID, number: int) -> None:
    """Uncount messages that were not handed over after all."""
    await session.execute(_GIVE_BACK, {"address_id": address_id, "number": number})


async def standings(session: TenantSession, ip_pool_id: UUID) -> dict[UUID, Standing]:
    """Where the addresses of a pool are today, of those that are not warm."""
    rows = await session.execute(_STANDINGS, {"ip_pool_id": ip_pool_id})
    known = volumes()
    return {
        row.id: Standing(row.day, known[row.day - 1] if row.allowed is None else row.allowed, row.used)
        for row in rows
        if row.day <= len(known)
    }


def until_tomorrow(now: datetime) -> timedelta:
    """How long today's volume is the last word."""
    midnight = datetime.combine(now.astimezone(UTC).date() + timedelta(days=1), time(), UTC)
    return midnight - now
