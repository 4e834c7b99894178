"""How far long work is: a line on stderr, once a second at most."""

import sys
from time import monotonic

_TOLD_EVERY_SECONDS = 1


class Progress:
    """Tells of bytes that went by, in the course of what it is named for."""

    def __init__(self, doing: str) -> None:
        self._doing = doing
        self._told_at = monotonic()

    def __call__(self, size: int) -> None:
        """Tell, unless that was done a moment ago."""
        if monotonic() - self._told_at >= _TOLD_EVERY_SECONDS:
            self._told_at = monotonic()
            print(f"{self._doing}: {size / 1e6:,.0f} MB", file=sys.stderr)
