"""When the current call must have been answered. Each hop passes on a little less than it was given."""

import time
from contextvars import ContextVar

# Monotonic seconds; None outside of a call.
_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)

# A call that names no deadline gets one.
DEFAULT = 10.0
# Kept back on each hop, to be able to say that time ran out. A share, since gRPC rounds up what it sends by some
# per cent: a fixed margin would be lost in that.
_MARGIN = 0.05


def begin(seconds: float) -> None:
    """Let the current call end in so many seconds. For the RPC boundary, in the call's own task."""
    _deadline.set(time.monotonic() + seconds)


def shaved(seconds: float) -> float:
    """What to keep of a time allowance of one hop: all but a margin."""
    return seconds * (1 - _MARGIN)


def allowance(at_most: float = DEFAULT) -> float:
    """Seconds that a call to another process may take: what is left of the current call's, less the margin."""
    deadline = _deadline.get()
    if deadline is None:
        return at_most
    return min(at_most, shaved(max(deadline - time.monotonic(), 0.0)))
