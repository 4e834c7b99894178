"""What processes have used of the processor."""

from collections.abc import Iterable, Mapping
from contextlib import suppress

import psutil


def used(pids: Iterable[int]) -> float:
    """Seconds of these processes and all that they started, whether that still runs or not."""
    return sum(map(_seconds, pids))


def used_by(processes: Mapping[str, Iterable[int]]) -> dict[str, float]:
    """The same by name."""
    return {name: used(pids) for name, pids in processes.items()}


def difference(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """What was used in between."""
    return {name: after[name] - before[name] for name in before}


def _seconds(pid: int) -> float:
    process = psutil.Process(pid)
    seconds = _own(process)
    for child in process.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            seconds += _own(child)
    return seconds


def _own(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system + times.children_user + times.children_system)
