"""Billing cycles: months that begin at the moment of the day on which the subscription began.

A month that has no such day begins on its last one: after 31 January comes 28 February, and then 31 March.
"""

from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class Cycle:
    """From `started_at` until right before `ends_at`, at which the next one starts."""

    started_at: datetime
    ends_at: datetime


def cycle_at(anchor: datetime, moment: datetime) -> Cycle:
    """The cycle in which a moment lies, of the cycles of which one starts at the millisecond of `anchor`."""
    anchor, moment = _to_the_millisecond(anchor.astimezone(UTC)), moment.astimezone(UTC)
    months = (moment.year - anchor.year) * 12 + moment.month - anchor.month
    if _start(anchor, months) > moment:
        months -= 1
    return Cycle(_start(anchor, months), _start(anchor, months + 1))


def _to_the_millisecond(moment: datetime) -> datetime:
    # A signed context says no more of it, and what is counted is counted by it.
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _start(anchor: datetime, months: int) -> datetime:
    """When the cycle starts that many months after the anchor's."""
    years, month = divmod(anchor.month - 1 + months, 12)
    year, month = anchor.year + years, month + 1
    return anchor.replace(year=year, month=month, day=min(anchor.day, monthrange(year, month)[1]))
