"""How many connections to a relay are worth having, as it shows by itself. Knows neither sockets nor a clock.

One more as long as somebody waits for one and the relay answers about as fast as it did with the fewest; half as many when it
refuses them. A relay that has as much to do as it can do answers later, and more connections to it would only wait with it.
"""

import math

_FIRST = 8
_MOST = 32
# Answers between two looks, for each connection.
_A_LOOK = 8
# Slower by so much than when it was fastest, it is busy.
_SLOWER = 1.5
# After it has refused one, it is left alone for so long.
_CONTENT_SECONDS = 60.0


class Concurrency:
    """The number of connections to one relay."""

    def __init__(self) -> None:
        self.limit = _FIRST
        self._fastest = math.inf
        self._answers = 0
        self._seconds = 0.0
        self._wanted = False
        self._content_until = 0.0

    def wanted(self) -> None:
        """Somebody waits, since all that there may be are in use."""
        self._wanted = True

    def answered(self, seconds: float, now: float) -> None:
        """A message was answered so long after it had begun."""
        self._answers += 1
        self._seconds += seconds
        if self._answers >= _A_LOOK * self.limit:
            self._look(self._seconds / self._answers, now)
            self._answers, self._seconds = 0, 0.0

    def refused(self, now: float, *, connected: int) -> None:
        """The relay takes no more connections than those; however many it says that to at once, it is halved once."""
        self.limit = min(self.limit, max(1, connected))
        if now >= self._content_until:
            self.limit = max(1, self.limit // 2)
        self._content_until = now + _CONTENT_SECONDS
        self._fastest = math.inf
        self._wanted = False

    def _look(self, average: float, now: float) -> None:
        self._fastest = min(average, self._fastest)
        if self._wanted and now >= self._content_until and average <= self._fastest * _SLOWER:
            self.limit = min(self.limit + 1, _MOST)
        self._wanted = False
