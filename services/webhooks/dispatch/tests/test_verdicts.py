"""The published schedule, and what is asked of it."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.webhooks.dispatch.verdicts import Status, schedule, verdict

NOW = datetime(2026, 11, 28, tzinfo=UTC)
PUBLISHED = [5, 300, 1_800, 7_200, 18_000, 36_000, 36_000]


def test_what_fails_comes_again_as_published_and_is_given_up_after_eight_attempts() -> None:
    pauses = []
    for made in range(8):
        means = verdict(status_code=500, retry_after=None, scheduled=made, now=NOW, spread=0)
        if means.due_at is None:
            assert means.status is Status.FAILED
            break
        pauses.append((means.due_at - NOW).total_seconds())
    assert pauses == PUBLISHED
    assert schedule().attempts == 8


@given(spread=st.floats(-1, 1), made=st.integers(0, 6))
def test_what_failed_together_does_not_come_again_together_but_within_a_tenth(
    spread: float, made: int
) -> None:
    means = verdict(status_code=None, retry_after=None, scheduled=made, now=NOW, spread=spread)
    assert means.due_at is not None
    assert abs((means.due_at - NOW).total_seconds() - PUBLISHED[made]) <= PUBLISHED[made] * 0.1 + 1e-3


def test_only_a_2xx_counts() -> None:
    for code in range(100, 600):
        means = verdict(status_code=code, retry_after=None, scheduled=0, now=NOW)
        assert (means.status is Status.DELIVERED) == (200 <= code <= 299)


def test_what_is_gone_is_given_up_at_once() -> None:
    assert verdict(status_code=410, retry_after=None, scheduled=0, now=NOW).status is Status.FAILED


@pytest.mark.parametrize("code", [429, 503])
def test_an_endpoint_that_asks_to_wait_rests_as_long_as_it_asks(code: int) -> None:
    means = verdict(status_code=code, retry_after=900, scheduled=0, now=NOW)
    assert means.due_at == NOW + timedelta(seconds=900)
    assert means.endpoint_rests


def test_nobody_is_waited_for_longer_than_a_day() -> None:
    means = verdict(status_code=503, retry_after=10**9, scheduled=0, now=NOW)
    assert means.due_at == NOW + timedelta(days=1)


def test_who_asks_for_less_than_the_schedule_gets_the_schedule() -> None:
    means = verdict(status_code=503, retry_after=1, scheduled=1, now=NOW, spread=0)
    assert means.due_at == NOW + timedelta(seconds=300)
