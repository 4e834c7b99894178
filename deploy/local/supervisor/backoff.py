"""How long to wait before a program that died is started again."""

_FIRST = 0.25  # seconds
_LONGEST = 10.0
_FORGIVEN_AFTER = 30.0


class Backoff:
    """Doubles from a quarter of a second up to ten; who lived for half a minute begins anew."""

    def __init__(self) -> None:
        self._next = _FIRST

    def pause_after(self, lived: float) -> float:
        """Seconds to wait after a life of so many seconds."""
        if lived >= _FORGIVEN_AFTER:
            self._next = _FIRST
        pause, self._next = self._next, min(self._next * 2, _LONGEST)
        return pause
