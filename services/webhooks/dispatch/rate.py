"""How many posts a second an endpoint wants: a bucket of as many tokens, filled at that rate."""

from collections.abc import Callable
from time import monotonic

# Fractions that were added up are never quite one.
_ONE = 1 - 1e-6


class Rate:
    """Of one endpoint, which has one lane, so that one bucket is all it takes. No limit where `limit` is None."""

    def __init__(self, limit: int | None, clock: Callable[[], float] = monotonic) -> None:
        self.limit = limit
        self._clock = clock
        self._tokens = float(limit or 0)
        self._filled_at = clock()

    def take(self) -> bool:
        """Whether one more may go now; if so it is counted."""
        if self.limit is None:
            return True
        self._fill(self.limit)
        if self._tokens < _ONE:
            return False
        self._tokens -= 1
        return True

    def wait(self) -> float:
        """Seconds until one more may go."""
        if self.limit is None:
            return 0.0
        self._fill(self.limit)
        return max(0.0, (1 - self._tokens) / self.limit)

    def _fill(self, limit: int) -> None:
        now = self._clock()
        self._tokens = min(float(limit), self._tokens + (now - self._filled_at) * limit)
        self._filled_at = now
