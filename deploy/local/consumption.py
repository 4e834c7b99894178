"""What the house takes of the machine: memory and processor time of everything that its supervisor started."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil

MEBIBYTE = 1024 * 1024


def family(pids: Iterable[int]) -> list[psutil.Process]:
    """These processes and all that descend from them."""
    members: list[psutil.Process] = []
    for pid in pids:
        with suppress(psutil.NoSuchProcess):
            parent = psutil.Process(pid)
            members += [parent, *parent.children(recursive=True)]
    return members


def resident(processes: Iterable[psutil.Process]) -> int:
    """Bytes in memory, those that several processes share counted for each of them."""
    total = 0
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            total += process.memory_info().rss
    return total


def proportional(processes: Iterable[psutil.Process]) -> int:
    """Bytes in memory, those that several processes share divided among them: what the machine really misses."""
    return sum(_proportional_kibibytes(process.pid) for process in processes) * 1024


def processor_seconds(processes: Iterable[psutil.Process]) -> float:
    """Seconds of processor time that they have used since they began."""
    total = 0.0
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system
    return total


def _proportional_kibibytes(pid: int) -> int:
    with suppress(OSError):
        for line in _lines(Path(f"/proc/{pid}/smaps_rollup")):
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0


def _lines(path: Path) -> Iterator[str]:
    with path.open() as file:
        yield from file
