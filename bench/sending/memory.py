"""What a delivery process keeps resident, and how long a message takes, as campaigns grow."""

from contextlib import ExitStack
from statistics import median
from typing import Any

import psutil

from bench.sending.campaign import send
from bench.sending.processor import peak_mib
from bench.sending.sinks import debian_sink
from bench.sending.stage import PLAIN_DOMAIN, stage
from bench.sending.turns import say, say_turn

_SMALLEST, _SMALL, _MIDDLE, _LARGE = 1_000, 10_000, 100_000, 1_000_000
_MOST_GROWTH = 1.10
_MOST_TIMES_AS_LONG = 1.15
_SMALL_TURNS = 3


def growth(*, large: bool) -> dict[str, Any]:
    """One delivery process through campaigns of 1,000, of 10,000 several times, and of 100,000; and of a million when `large`.

    The campaigns of 10,000 come before and after the largest, so that what was stored in the meantime weighs on both.
    """
    sizes = [
        _SMALLEST,
        *[_SMALL] * _SMALL_TURNS,
        _MIDDLE,
        *([_LARGE] if large else []),
        *[_SMALL] * _SMALL_TURNS,
    ]
    largest = max(sizes)
    resident: dict[int, float] = {}
    peaks: dict[int, float] = {}
    took: dict[int, list[float]] = {}
    with ExitStack() as stack:
        made = stack.enter_context(stage())
        audiences = {size: made.add_audience(size) for size in sorted(set(sizes))}
        say(f"{sum(audiences):,} contacts are made")
        sink = stack.enter_context(debian_sink())
        platform = stack.enter_context(made.platform(sink.port))
        (delivery,) = platform.pids["delivery"]
        # Until its connections, statements and templates are there.
        send(platform, audiences[_SMALLEST], _SMALLEST, PLAIN_DOMAIN, sink)
        for size in sizes:
            turn = send(platform, audiences[size], size, PLAIN_DOMAIN, sink)
            took.setdefault(size, []).append(turn.seconds / size)
            resident[size], peaks[size] = (
                psutil.Process(delivery).memory_info().rss / 2**20,
                peak_mib(delivery),
            )
            say_turn(f"{size:,} recipients, {resident[size]:.0f} MiB", turn)
    longer = median(took[largest]) / median(took[_SMALL])
    grown = resident[largest] / resident[_SMALLEST]
    return {
        "resident_mib": {f"{size:,}": round(mib) for size, mib in resident.items()},
        "peak_mib": {f"{size:,}": round(mib) for size, mib in peaks.items()},
        "microseconds_per_message": {f"{size:,}": round(median(each) * 1e6) for size, each in took.items()},
        "times_as_large": round(grown, 3),
        "times_as_long": round(longer, 3),
        "compared": f"{largest:,} with {_SMALLEST:,} recipients in memory, with {_SMALL:,} in time",
        "meets": grown <= _MOST_GROWTH and longer <= _MOST_TIMES_AS_LONG,
    }
