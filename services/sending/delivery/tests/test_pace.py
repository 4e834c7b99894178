"""A lane finds the rate of its provider by itself: simulated providers, no sockets, no clock."""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.sending.delivery.pace import Pace, Ticket

# A sender's connections.
SLOTS = 64


@dataclass
class Provider:
    """Takes so many messages a second, and a second's worth at once; says that others are too much."""

    rate: float
    _left: float = 2.0
    _at: float = 0.0

    def takes(self, now: float) -> bool:
        most = max(2.0, self.rate)
        self._left = min(most, self._left + (now - self._at) * self.rate)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


@dataclass
class Sender:
    """Sends as fast as its pace lets it, each message answered a while after it began."""

    provider: Provider
    latency: float
    pace: Pace = field(default_factory=Pace)
    now: float = 0.0
    accepted: int = 0
    refused: int = 0
    _under_way: list[tuple[float, int, Ticket]] = field(default_factory=list)

    def send_for(self, seconds: float) -> None:
        end, number = self.now + seconds, 0
        while self.now < end:
            wait = 0.0
            while len(self._under_way) < SLOTS and not (wait := self.pace.wait(self.now)):
                number += 1
                heapq.heappush(self._under_way, (self.now + self.latency, number, self.pace.begin(self.now)))
            self.now = min(self._moments(wait, end))
            while self._under_way and self._under_way[0][0] <= self.now:
                self._answer(heapq.heappop(self._under_way)[2])

    def _moments(self, wait: float, end: float) -> Iterator[float]:
        yield end
        if self._under_way:
            yield self._under_way[0][0]
        if len(self._under_way) < SLOTS:
            yield self.now + max(wait, 1e-4)

    def _answer(self, ticket: Ticket) -> None:
        if self.provider.takes(self.now):
            self.accepted += 1
            self.pace.accepted(ticket, self.now)
        else:
            self.refused += 1
            self.pace.refused(ticket, self.now)


rates = st.floats(0.2, 30)
latencies = st.floats(0.01, 0.2)


@settings(max_examples=10, deadline=None)
@given(rate=rates, latency=latencies)
def test_it_comes_near_what_a_provider_takes_and_seldom_beyond(rate: float, latency: float) -> None:
    sender = Sender(Provider(rate), latency)
    sender.send_for(600)
    sender.accepted = sender.refused = 0
    sender.send_for(900)
    assert sender.accepted >= 0.7 * rate * 900
    # A few when it goes beyond, once in a minute or so.
    assert sender.refused <= 40


@settings(max_examples=5, deadline=None)
@given(rate=st.floats(0.5, 4), latency=latencies)
def test_it_recovers_once_a_limit_is_lifted(rate: float, latency: float) -> None:
    sender = Sender(Provider(rate), latency)
    sender.send_for(600)
    sender.provider.rate *= 10
    sender.send_for(600)
    sender.accepted = 0
    sender.send_for(300)
    assert sender.accepted >= 5 * rate * 300


@settings(max_examples=5, deadline=None)
@given(latency=latencies)
def test_a_provider_that_takes_nothing_is_asked_ever_less_and_never_given_up(latency: float) -> None:
    sender = Sender(Provider(0.0, _left=0.0), latency)
    sender.send_for(3_600)
    sender.refused = 0
    sender.send_for(7_200)
    # Every five minutes one.
    assert 20 <= sender.refused <= 30


def test_nothing_is_limited_before_anybody_says_so() -> None:
    pace = Pace()
    for number in range(10_000):
        assert pace.wait(number / 1e6) == 0
        pace.accepted(pace.begin(number / 1e6), number / 1e6)
    assert pace.limit is None


def test_what_had_begun_before_a_slowdown_does_not_slow_down_again() -> None:
    pace = Pace()
    begun = [pace.begin(0.0) for _ in range(50)]
    assert pace.refused(begun[0], 1.0)
    limit, closed_until = pace.limit, pace.closed_until
    assert not any(pace.refused(ticket, 1.0) for ticket in begun[1:])
    assert (pace.limit, pace.closed_until) == (limit, closed_until)


@pytest.mark.parametrize("lost", [True, False])
def test_one_message_tries_whether_a_closed_lane_is_open_again(lost: bool) -> None:
    pace = Pace()
    pace.refused(pace.begin(0.0), 0.0)
    assert pace.wait(0.0) == pace.closed_until
    opens = pace.closed_until
    trial = pace.begin(opens)
    assert pace.wait(opens) > 0
    if lost:
        pace.ended(trial)
        assert pace.wait(opens) == 0
    else:
        pace.accepted(trial, opens)
        assert pace.wait(opens + 10) == 0


def test_a_lane_that_nobody_wants_to_be_faster_does_not_get_faster() -> None:
    pace = Pace()
    pace.refused(pace.begin(0.0), 0.0)
    limit = pace.limit
    now = 10.0
    for _ in range(100):
        now += 100
        assert pace.wait(now) == 0
        pace.accepted(pace.begin(now), now)
    assert pace.limit == limit
