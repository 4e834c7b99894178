"""When a time of day and an occasion of a workflow come next, by the clocks of its contact or of the organization."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

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


def next_occasion(wanted: pb.DateField, day: date, after: datetime, clocks: Clocks) -> datetime | None:
    """The first moment after `after` at which a contact whose field holds `day` comes in; None when there is none to come."""
    zone, at = clocks.zone(wanted.at), parse_time(wanted.at.time)
    offset = timedelta(days=wanted.offset_days)
    for occasion in _years_of(day, after.year) if wanted.yearly else [day]:
        try:
            moment = moment_of(occasion + offset, at, zone)
        except OverflowError:
            continue
        if moment > after:
            return moment
    return None


def _years_of(day: date, year: int) -> Iterator[date]:
    """The day in the years about this one, and in none before its own."""
    first = max(day.year, year - 2)
    for each in range(first, min(first + 5, 10_000)):
        try:
            yield day.replace(year=each)
        except ValueError:
            yield date(each, 2, 28)
