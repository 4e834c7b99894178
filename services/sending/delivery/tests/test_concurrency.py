"""How many connections a relay is worth: simulated relays that work on so many messages at a time."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.sending.delivery.smtp.concurrency import Concurrency

FIRST = Concurrency().limit


def use(
    concurrency: Concurrency, capacity: int, *, answers: int, now: float = 0.0, waiting: bool = True
) -> None:
    """Let a relay answer that is as quick with up to so many at a time, and makes the others wait."""
    for _ in range(answers):
        if waiting:
            concurrency.wanted()
        concurrency.answered(0.05 * max(1.0, concurrency.limit / capacity), now)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 28))
def test_it_finds_how_many_are_worth_having(capacity: int) -> None:
    concurrency = Concurrency()
    use(concurrency, capacity, answers=20_000)
    assert min(capacity, FIRST) <= concurrency.limit <= 1.5 * max(capacity, FIRST) + 1


def test_it_does_not_grow_for_nobody() -> None:
    concurrency = Concurrency()
    use(concurrency, 100, answers=20_000, waiting=False)
    assert concurrency.limit == FIRST


def test_it_is_bounded() -> None:
    concurrency = Concurrency()
    use(concurrency, 1_000, answers=20_000)
    assert concurrency.limit == 32


@pytest.mark.parametrize("connected", [20, 10, 1, 0])
def test_a_relay_that_refuses_more_has_half_of_what_it_took_and_is_left_alone(connected: int) -> None:
    concurrency = Concurrency()
    use(concurrency, 1_000, answers=20_000)
    for _ in range(10):
        concurrency.refused(100.0, connected=connected)
    half = max(1, connected // 2)
    assert concurrency.limit == half
    use(concurrency, 1_000, answers=10_000, now=130.0)
    assert concurrency.limit == half
    use(concurrency, 1_000, answers=10_000, now=200.0)
    assert concurrency.limit > half
