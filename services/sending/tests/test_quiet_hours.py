"""Quiet hours are what clocks say, also on the days on which clocks change."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.sending.clock_times import moment_of, parse_zone
from services.sending.quiet_hours import QuietHours
from services.sending.sending_policy import SendingPolicy, quiet_until

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Nuuk",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "Africa/Casablanca",
)
MINUTES = st.times().map(lambda at: at.replace(second=0, microsecond=0, fold=0))
MOMENTS = st.datetimes(datetime(2024, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def nights(begin: str, end: str, zone: ZoneInfo = BERLIN) -> SendingPolicy:
    return SendingPolicy(zone, QuietHours(zone, time.fromisoformat(begin), time.fromisoformat(end)))


def test_a_policy_without_quiet_hours_is_never_quiet() -> None:
    assert quiet_until(SendingPolicy(), at("2026-07-01T00:00")) is None


def test_they_pass_midnight_begin_at_their_time_and_are_over_at_theirs() -> None:
    policy = nights("21:00", "08:00")
    assert quiet_until(policy, at("2026-07-01T18:59:59.999")) is None
    assert quiet_until(policy, at("2026-07-01T19:00")) == at("2026-07-02T06:00")
    assert quiet_until(policy, at("2026-07-02T05:59:59.999")) == at("2026-07-02T06:00")
    assert quiet_until(policy, at("2026-07-02T06:00")) is None


def test_a_night_in_which_clocks_change_is_shorter_or_longer() -> None:
    policy = nights("21:00", "08:00")
    assert quiet_until(policy, at("2026-03-28T20:00")) == at("2026-03-29T06:00")
    assert quiet_until(policy, at("2026-10-24T19:00")) == at("2026-10-25T07:00")


def test_an_hour_that_clocks_show_twice_is_quiet_from_its_first_time_to_the_end() -> None:
    policy = nights("02:30", "04:00")
    for minute in ("2026-10-25T00:30", "2026-10-25T01:00", "2026-10-25T01:29", "2026-10-25T02:59"):
        assert quiet_until(policy, at(minute)) == at("2026-10-25T03:00")


def test_where_an_end_comes_after_the_next_beginning_they_are_one() -> None:
    policy = nights("03:00", "02:30")
    # On that morning 03:00 is shown at 01:00 UTC, and 02:30, which is left out, counts as 01:30.
    assert quiet_until(policy, at("2026-03-29T00:50")) == at("2026-03-30T00:30")


@given(st.sampled_from(ZONES).map(ZoneInfo), MINUTES, MINUTES, MOMENTS)
@settings(max_examples=200, deadline=None)
@example(BERLIN, time(2, 30), time(3, 0), at("2026-03-28T20:00"))
@example(BERLIN, time(3, 0), time(2, 30), at("2026-03-29T00:50"))
def test_what_is_quiet_is_between_a_beginning_and_its_end_and_the_end_is_not_quiet(
    zone: ZoneInfo, begin: time, end: time, moment: datetime
) -> None:
    if begin == end:
        return
    hours = QuietHours(zone, begin, end)
    begins_at, ends_at = hours.next(moment)
    assert moment <= begins_at < ends_at <= begins_at + timedelta(days=3)
    assert hours.until(ends_at) is None
    assert hours.until(begins_at) == ends_at == hours.until(ends_at - timedelta(microseconds=1))
    # Of whole nights that clocks leave alone, none is left out.
    assert begins_at <= moment + timedelta(days=2, hours=2)
    if begins_at > moment:
        assert hours.until(moment) is None
        assert hours.until(begins_at - timedelta(microseconds=1)) is None
        assert begins_at in {
            moment_of(begins_at.astimezone(zone).date() - timedelta(days=ago), begin, zone) for ago in (0, 1)
        }
    else:
        assert hours.until(moment) == ends_at


@pytest.mark.parametrize(
    "name", ["", "Mars/Olympus", "europe/berlin", "../UTC", "localtime", "CEST", "Europe"]
)
def test_what_is_no_zone_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="must be the name of a time zone"):
        parse_zone(name)
