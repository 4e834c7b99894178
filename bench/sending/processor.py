"""What processes have used of the processor, and of the memory."""

import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import psutil

# What processes use that only look whether there is something to do, of a core.
_IDLE = 0.3
_MOST_SECONDS = 120.0


def used(pids: Iterable[int]) -> float:
    """Seconds of these processes and all that they started, whether that still runs or not."""
    return sum(map(_seconds, pids))


def used_by(processes: Mapping[str, Iterable[int]]) -> dict[str, float]:
    """The same by name."""
    return {name: used(pids) for name, pids in processes.items()}


def difference(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """What was used in between."""
    return {name: after[name] - before[name] for name in before}


def await_idle(processes: Mapping[str, Iterable[int]]) -> None:
    """Wait until what was set off is done: what readers of events still do must weigh on nobody else's turn."""
    deadline = time.monotonic() + _MOST_SECONDS
    began, before = time.monotonic(), sum(used_by(processes).values())
    while time.monotonic() < deadline:
        time.sleep(1)
        now, after = time.monotonic(), sum(used_by(processes).values())
        if (after - before) / (now - began) < _IDLE:
            return
        began, before = now, after


def peak_mib(pid: int) -> float:
    """The most MiB that a process had resident until now (proc_pid_status(5))."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


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
