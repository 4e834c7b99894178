"""A time of day is found on the clocks that are meant, on the days on which clocks change, too."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flownurture.sending.v1 import workflows_pb2 as pb
from services.sending.clock_times import moment_of, parse_time
from services.sending.workflows.clock_times import Clocks, days_within, next_time_of_day

BERLIN, NEW_YORK, APIA = ZoneInfo("Europe/Berlin"), ZoneInfo("America/New_York"), ZoneInfo("Pacific/Apia")
ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "Africa/Casablanca",
)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def next_at(clock_time: str, after: str, zone: ZoneInfo) -> datetime:
    return next_time_of_day(pb.TimeOfDay(time=clock_time), at(after), Clocks(organization=zone))


@given(
    st.sampled_from(ZONES).map(ZoneInfo),
    st.times(),
    st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)),
)
@settings(max_examples=30)
@example(BERLIN, time(2, 30), at("2026-03-28T20:00"))
@example(BERLIN, time(2, 30), at("2026-10-24T20:00"))
@example(NEW_YORK, time(1, 30), at("2026-11-01T05:45"))
def test_it_is_the_first_minute_afterwards_at_which_clocks_show_it(
    zone: ZoneInfo, wanted: time, after: datetime
) -> None:
    after, wanted = after.replace(second=0, microsecond=0), wanted.replace(second=0, microsecond=0, fold=0)
    found = next_at(f"{wanted:%H:%M}", after.replace(tzinfo=None).isoformat(), zone)
    assert after < found <= after + timedelta(hours=50)
    minute = after
    while (minute := minute + timedelta(minutes=1)) < found:
        local = minute.astimezone(zone)
        assert local.fold or local.time() != wanted
    local = found.astimezone(zone)
    left_out = (local.replace(tzinfo=None) - datetime.combine(local, wanted)) % timedelta(days=1)
    assert left_out in (timedelta(0), timedelta(minutes=30), timedelta(hours=1))


def test_a_time_that_clocks_leave_out_is_as_if_they_had_not_been_put_forward_yet() -> None:
    assert next_at("02:30", "2026-03-28T12:00", BERLIN) == at("2026-03-29T01:30")
    assert at("2026-03-29T01:30").astimezone(BERLIN).time() == time(3, 30)


def test_of_a_time_that_clocks_show_twice_the_first_is_meant() -> None:
    assert next_at("02:30", "2026-10-24T12:00", BERLIN) == at("2026-10-25T00:30")
    # Between the two: the next day's.
    assert next_at("02:30", "2026-10-25T01:00", BERLIN) == at("2026-10-26T01:30")


def test_whoever_waits_at_the_very_time_waits_for_the_next_day() -> None:
    assert next_at("09:00", "2026-07-01T07:00", BERLIN) == at("2026-07-02T07:00")


def test_a_day_that_a_zone_left_out_holds_nothing_up() -> None:
    assert next_at("09:00", "2011-12-30T09:59", APIA) == at("2011-12-30T19:00")
    assert next_at("09:00", "2011-12-30T19:00", APIA) == at("2011-12-31T19:00")


def test_a_time_that_is_left_out_before_midnight_comes_after_it() -> None:
    nuuk = ZoneInfo("America/Nuuk")
    # From 23:00 on the 29th clocks go to midnight: 23:30 is half past midnight.
    assert next_at("23:30", "2025-03-30T01:10", nuuk) == at("2025-03-30T01:30")


def test_the_contacts_clocks_are_the_organizations_where_nobody_knows_better() -> None:
    wanted, after = pb.TimeOfDay(time="09:00", clock=pb.CLOCK_CONTACT), at("2026-07-01T00:00")
    assert next_time_of_day(wanted, after, Clocks(BERLIN, NEW_YORK)) == at("2026-07-01T13:00")
    assert next_time_of_day(wanted, after, Clocks(BERLIN)) == at("2026-07-01T07:00")
    wanted.clock = pb.CLOCK_ORGANIZATION
    assert next_time_of_day(wanted, after, Clocks(BERLIN, NEW_YORK)) == at("2026-07-01T07:00")


@pytest.mark.parametrize("text", ["", "9:00", "24:00", "12:60", "12:00:00", "١٢:٠٠", " 9:00", "09:00\n"])
def test_what_is_no_time_of_day_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be a time of day"):
        parse_time(text)


def birthday(
    time: str = "09:00", clock: pb.Clock.ValueType = pb.CLOCK_ORGANIZATION, offset_days: int = 0
) -> pb.DateField:
    by = pb.TimeOfDay(time=time, clock=clock)
    return pb.DateField(custom_field="birthday", offset_days=offset_days, at=by)


def test_by_the_organizations_clocks_a_day_comes_for_all_at_once() -> None:
    days = days_within(birthday(), BERLIN, at("2026-12-24T07:59"), at("2026-12-24T08:00"))
    ((day, zones),) = days.items()
    assert (day, zones) == (date(2026, 12, 24), frozenset({"", *available_timezones()}))
    assert not days_within(birthday(), BERLIN, at("2026-12-24T08:00"), at("2026-12-25T07:59"))


def test_an_occasion_may_be_days_before_or_after_its_day() -> None:
    for offset, day in ((-7, date(2026, 12, 31)), (10, date(2026, 12, 14))):
        days = days_within(
            birthday(offset_days=offset), BERLIN, at("2026-12-24T07:00"), at("2026-12-24T09:00")
        )
        assert list(days) == [day]


@settings(max_examples=40)
@given(
    st.sampled_from(ZONES),
    st.times(),
    st.datetimes(datetime(2020, 1, 2), datetime(2030, 1, 1), timezones=st.just(UTC)),
    st.lists(st.timedeltas(timedelta(seconds=1), timedelta(days=1)), min_size=1, max_size=6),
)
def test_by_a_contacts_clocks_each_day_comes_once_however_often_it_is_looked(
    zone: str, time: time, begin: datetime, steps: Sequence[timedelta]
) -> None:
    wanted = birthday(f"{time:%H:%M}", pb.CLOCK_CONTACT)
    moments = [begin]
    for step in steps:
        moments.append(moments[-1] + step)
    came = [
        day
        for after, until in pairwise(moments)
        for day, zones in days_within(wanted, BERLIN, after, until).items()
        if zone in zones
    ]
    expected = (begin.date() + timedelta(days=days) for days in range(-3, (moments[-1] - begin).days + 4))
    at_zone = ZoneInfo(zone)
    assert came == [
        day for day in expected if begin < moment_of(day, parse_time(f"{time:%H:%M}"), at_zone) <= moments[-1]
    ]
