"""When a time of day comes next, and whose occasion comes within a time, by the clocks of a contact or of the organization."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from flownurture.sending.v1 import workflows_pb2 as pb
from services.sending.clock_times import moment_of, parse_time

_ONE_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Clocks:
    """The zones of the organization and, where it is known, of the contact."""

    organization: ZoneInfo
    contact: ZoneInfo | None = None

    def zone(self, wanted: pb.TimeOfDay) -> ZoneInfo:
        """The zone of the clocks that are meant."""
        if wanted.clock == pb.CLOCK_CONTACT and self.contact is not None:
            return self.contact
        return self.organization


def next_time_of_day(wanted: pb.TimeOfDay, after: datetime, clocks: Clocks) -> datetime:
    """The first moment after `after`, and not that one, at which clocks show it: whoever waits for it again waits a day."""
    zone, at = clocks.zone(wanted), parse_time(wanted.time)
    # A time that was left out before midnight may come after it.
    day = after.astimezone(zone).date() - _ONE_DAY
    while (moment := moment_of(day, at, zone)) <= after:
        day += _ONE_DAY
    return moment


def days_within(
    wanted: pb.DateField, organization: ZoneInfo, after: datetime, until: datetime
) -> Mapping[date, frozenset[str]]:
    """Which days, as fields hold them, come in after a moment and until another, a day later at most; and by the clocks of which zones.

    The empty name stands for contacts whose zone is not known, who live by the organization's.
    """
    by_zone = {**_zones(), "": organization}
    if wanted.at.clock != pb.CLOCK_CONTACT:
        by_zone = dict.fromkeys(by_zone, organization)
    at, offset = parse_time(wanted.at.time), timedelta(days=wanted.offset_days)
    days: defaultdict[date, set[str]] = defaultdict(set)
    for name, zone in by_zone.items():
        # A time that clocks leave out may come after midnight.
        day = after.astimezone(zone).date() - _ONE_DAY
        while (moment := moment_of(day, at, zone)) <= until:
            if moment > after:
                days[day - offset].add(name)
            day += _ONE_DAY
    return {day: frozenset(zones) for day, zones in sorted(days.items())}


@cache
def _zones() -> Mapping[str, ZoneInfo]:
    """All that there are, by name: they are read from files."""
    return {name: ZoneInfo(name) for name in available_timezones()}
