"""What a process keeps resident in the course of a large first sync."""

import threading
from collections.abc import Sequence
from typing import Any

import psutil

from bench.sending.processor import peak_mib
from bench.sending.turns import say
from bench.syncs.stage import syncing

_MOST_GROWTH = 1.10
_LOOK_SECONDS = 0.5
_READ = "SELECT coalesce(sum(records_read), 0) FROM integrations.syncs WHERE connection_id = %s"


def kept(sizes: Sequence[int]) -> dict[str, Any]:
    """Peaks of one process, in one first sync from a CRM, once so many contacts were read; of the largest number once all is done."""
    *smaller, largest = sizes
    peaks: dict[int, float] = {}
    with syncing() as made, made.crm(largest) as url:
        connection = made.tell("connect", url)["connection"]
        told: dict[str, Any] = {}
        sync = threading.Thread(target=lambda: told.update(made.tell("sync", connection)))
        sync.start()
        while sync.is_alive():
            sync.join(_LOOK_SECONDS)
            read = int(str(made.stage.look(_READ, connection)[0][0]))
            for size in smaller:
                if read >= size and size not in peaks:
                    peaks[size] = peak_mib(made.engine.pid)
                    say(f"{read:,} read, {peaks[size]:.0f} MiB at most")
        peaks[largest] = peak_mib(made.engine.pid)
        resident = psutil.Process(made.engine.pid).memory_info().rss / 2**20
    grown = peaks[largest] / peaks[sizes[0]]
    return {
        "peak_mib": {f"{size:,}": round(mib) for size, mib in peaks.items()},
        "resident_mib": round(resident),
        "times_as_large": round(grown, 3),
        "contacts_per_second": round(largest / told["seconds"]),
        "meets": grown <= _MOST_GROWTH,
    }
