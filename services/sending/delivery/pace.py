"""How fast one lane may go, as it finds out by itself from what is answered: CUBIC (RFC 9438), on messages a second.

Nothing is limited until somebody says that it is too much. Then the lane is closed for a while, one message tries whether it is
open again, and it goes on at half of what had got through: back quickly to where it was told, long near there, and beyond it ever
faster. So it swings a little below what a provider takes, and has forgotten a limit minutes after the provider has.

Knows no clock: times are given, in seconds that only grow.
"""

import math
from dataclasses import dataclass

# What is left of the rate when it was too much.
_DECREASE = 0.5
# After so many seconds of use it is back where it was told; RFC 9438 §4.1 scales it by the rate, which takes minutes for small ones.
_RECOVERY_SECONDS = 60.0
# So fast it always goes, so that it learns when the provider takes mail again.
_TRICKLE = 0.1
# What is thought of a lane that was refused before anything got through.
_FIRST_GUESS = 2.0
# Beyond what one process hands over: no limit any more.
_NO_LIMIT = 20_000.0
# How much of a second's messages may go at once.
_BURST_SECONDS = 0.1
_FIRST_PAUSE_SECONDS = 5.0
_LONGEST_PAUSE_SECONDS = 300.0
_SHORTEST_WAIT_SECONDS = 0.05
# Who is refused again before as many got through pauses twice as long.
_FEW = 3
# How far back the rate of what got through is looked at.
_MEMORY_SECONDS = 5.0
_AS_GOOD_AS_NOTHING = 0.05


@dataclass(frozen=True, slots=True)
class Ticket:
    """A message's leave to begin; whoever has it says how it ended."""

    since: int


class Pace:
    """The rate of one lane."""

    def __init__(self) -> None:
        # In messages a second; None where no limit is known.
        self.limit: float | None = None
        self.closed_until = -math.inf
        self._told_at = 0.0
        self._used_seconds = 0.0
        self._pressed = False
        self._pause = 0.0
        self._got_through = 0
        # Counts the times it was slowed down, or somebody was sent to try.
        self._since = 0
        self._trial: Ticket | None = None
        self._tried_at = 0.0
        self._must_try = False
        self._tokens = 0.0
        self._tokens_at = -math.inf
        self._last_accepted = -math.inf
        self._throughput = _Throughput()

    def wait(self, now: float) -> float:
        """In how many seconds a message may begin, if one wants to; 0 when it may now."""
        if now < self.closed_until:
            return self.closed_until - now
        if self._trial is not None:
            # Whoever tries has not been answered, and may not be for as long again.
            return min(max(now - self._tried_at, _SHORTEST_WAIT_SECONDS), _FIRST_PAUSE_SECONDS)
        if self.limit is None or self._must_try:
            return 0.0
        self._refill(now, self.limit)
        if self._tokens >= 1:
            return 0.0
        self._pressed = True
        return (1 - self._tokens) / self.limit

    def begin(self, now: float) -> Ticket:
        """Let a message begin that need not wait."""
        if self.limit is not None:
            self._refill(now, self.limit)
            self._tokens -= 1
        if self._must_try:
            self._must_try = False
            self._since += 1
            self._trial, self._tried_at = Ticket(self._since), now
            return self._trial
        return Ticket(self._since)

    def accepted(self, ticket: Ticket, now: float) -> None:
        """It was taken."""
        self._throughput.count(now)
        self._got_through += ticket.since == self._since
        if self._trial is ticket:
            self._trial = None
        if self.limit is not None and self._pressed:
            # Time in which nobody wanted to go faster proves nothing.
            self._used_seconds += min(now - self._last_accepted, max(1.0, 2 / self.limit))
            self._pressed = False
            self.limit = self._grown()
        self._last_accepted = now

    def refused(self, ticket: Ticket, now: float) -> bool:
        """It was too much; whether that was news. What had begun before we slowed down says nothing new."""
        if ticket.since < self._since:
            return False
        longer = min(2 * self._pause, _LONGEST_PAUSE_SECONDS) if self._got_through < _FEW else 0.0
        self._pause = max(longer, _FIRST_PAUSE_SECONDS)
        self._told_at = self._rate_that_was_too_much(now)
        self.limit = _DECREASE * self._told_at
        self._used_seconds = 0.0
        self._tokens, self._tokens_at = 0.0, now
        self.closed_until = now + self._pause
        self._since += 1
        self._got_through = 0
        self._trial, self._must_try = None, True
        return True

    def ended(self, ticket: Ticket) -> None:
        """It came to an end that says nothing about the rate, or to none."""
        if self._trial is ticket:
            self._trial, self._must_try = None, True

    def _rate_that_was_too_much(self, now: float) -> float:
        got_through = self._throughput.per_second(now)
        if self.limit is None:
            return max(got_through, _FIRST_GUESS)
        # Where little was sent, what got through says little about what may.
        return max(min(self.limit, max(got_through, self.limit / 2)), _TRICKLE / _DECREASE)

    def _grown(self) -> float | None:
        """RFC 9438 §4.2, with time in units of the recovery."""
        at = self._used_seconds / _RECOVERY_SECONDS - 1
        limit = self._told_at * (1 + (1 - _DECREASE) * at**3)
        return None if limit >= _NO_LIMIT else limit

    def _refill(self, now: float, limit: float) -> None:
        most = max(1.0, limit * _BURST_SECONDS)
        self._tokens = min(most, self._tokens + (now - self._tokens_at) * limit)
        self._tokens_at = now


class _Throughput:
    """Messages a second of late: a count that fades."""

    def __init__(self) -> None:
        self._count = 0.0
        self._at = -math.inf
        self._since = 0.0

    def count(self, now: float) -> None:
        """One more got through."""
        faded = self._faded(now)
        if faded < _AS_GOOD_AS_NOTHING:
            # An average over time in which nothing was sent would be too low.
            faded, self._since = 0.0, now
        self._count, self._at = faded + 1, now

    def per_second(self, now: float) -> float:
        """The average, as if it had always been as it was since it began."""
        seen = -math.expm1(-max(now - self._since, 1.0) / _MEMORY_SECONDS)
        return self._faded(now) / (_MEMORY_SECONDS * seen)

    def _faded(self, now: float) -> float:
        return self._count * math.exp((self._at - now) / _MEMORY_SECONDS) if self._count else 0.0
