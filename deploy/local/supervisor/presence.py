"""Who lives: a process is known by its pid and the time it started, for a pid alone may pass to a stranger."""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep

import psutil

# What two readings of one process' start may differ by, in seconds.
_CLOCK_TOLERANCE = 2.0
_LOOK_AGAIN = 0.02


def living(pid: int, started: float) -> psutil.Process | None:
    """The process that got this pid at this time (seconds since 1970), if it still lives."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        is_it = abs(process.create_time() - started) < _CLOCK_TOLERANCE
        if is_it and _is_alive(process):
            return process
    return None


def await_end(processes: Iterable[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Wait until they have ended; those that have not after so many seconds.

    One that ended and that its parent has not buried yet has ended: not every machine's init is quick about it.
    """
    deadline = monotonic() + seconds
    alive = [process for process in processes if _is_alive(process)]
    while alive and monotonic() < deadline:
        sleep(_LOOK_AGAIN)
        alive = [process for process in alive if _is_alive(process)]
    return alive


def announce(path: Path) -> None:
    """Say in a file that this process is the supervisor: its pid and its start, a line each."""
    path.write_text(f"{os.getpid()}\n{psutil.Process().create_time()}\n")


def supervisor(path: Path) -> psutil.Process | None:
    """The supervisor that a file tells of, if it lives; nobody, where the file cannot be read."""
    with suppress(OSError, ValueError):
        pid, started = path.read_text().split()
        return living(int(pid), float(started))
    return None


def _is_alive(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False
