"""When clocks show a time: moments, always with their zone, from days and times of day.

Clocks that are put forward leave times out, those that are put back show some twice. RFC 5545 §3.3.5 says what is meant: a time that is left
out is counted as if clocks had not been put forward yet (half past two is half past three by the new time), and of one that is shown
twice the first is meant. So does PEP 495 with fold=0.
"""

import re
from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo, available_timezones

_TIME = re.compile(r"([01]\d|2[0-3]):[0-5]\d", re.ASCII)
# Read once: what is no name of a zone must not be looked for among files. Two of them name none.
_ZONES = frozenset(available_timezones() - {"Factory", "localtime"})


def parse_time(text: str) -> time:
    """A time of day as HH:MM. Raises ValueError with the end of a sentence."""
    if not _TIME.fullmatch(text):
        raise ValueError("must be a time of day from 00:00 to 23:59, such as 09:30")
    return time.fromisoformat(text)


def parse_zone(name: str) -> ZoneInfo:
    """A zone by its name in the IANA database. Raises ValueError with the end of a sentence."""
    if name not in _ZONES:
        raise ValueError("must be the name of a time zone in the IANA database, such as Europe/Berlin")
    return ZoneInfo(name)


def moment_of(day: date, at: time, zone: ZoneInfo) -> datetime:
    """When clocks of a zone show this time of this day, in UTC. Raises OverflowError outside of the years 1 to 9999."""
    return datetime.combine(day, at, zone).astimezone(UTC)
