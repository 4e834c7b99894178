"""Who lives in the house: written down at each birth, so that a killed supervisor leaves nobody unknown behind."""

import signal
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from deploy.local.state import read_json, write_json
from deploy.local.supervisor.presence import await_end, living

# Seconds to end in order; the processes' own drain takes up to 15.
PATIENCE = 20.0


@dataclass(frozen=True, slots=True)
class Inhabitant:
    """A program that was started: how to find it, and how it is asked to leave."""

    name: str
    pid: int
    started: float
    stop_signal: int
    leaves_in_turn: int

    @property
    def process(self) -> psutil.Process | None:
        """The process, if it still lives."""
        return living(self.pid, self.started)


class Census:
    """The file that says who was started."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._inhabitants: dict[str, Inhabitant] = {}

    def enter(self, name: str, pid: int, *, stop_signal: signal.Signals, leaves_in_turn: int) -> None:
        """Write down who was just started, in place of an earlier one of the name."""
        with suppress(psutil.NoSuchProcess):
            started = psutil.Process(pid).create_time()
            self._inhabitants[name] = Inhabitant(name, pid, started, int(stop_signal), leaves_in_turn)
            write_json(self._path, [asdict(inhabitant) for inhabitant in self._inhabitants.values()])

    def close(self) -> None:
        """All have left."""
        self._inhabitants.clear()
        self._path.unlink(missing_ok=True)


def left_over(path: Path) -> list[Inhabitant]:
    """Who of those written down still lives."""
    inhabitants = [Inhabitant(**entry) for entry in read_json(path) or []]
    return [inhabitant for inhabitant in inhabitants if inhabitant.process]


def clear(inhabitants: Iterable[Inhabitant]) -> None:
    """End them in their turns, each in order if it can, by force if not."""
    remaining = sorted(inhabitants, key=lambda inhabitant: inhabitant.leaves_in_turn)
    for turn in sorted({inhabitant.leaves_in_turn for inhabitant in remaining}):
        leaving = [inhabitant for inhabitant in remaining if inhabitant.leaves_in_turn == turn]
        processes = [process for inhabitant in leaving if (process := inhabitant.process)]
        for inhabitant in leaving:
            with suppress(psutil.NoSuchProcess):
                if process := inhabitant.process:
                    process.send_signal(inhabitant.stop_signal)
        stubborn = await_end(processes, PATIENCE)
        for process in stubborn:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        await_end(stubborn, PATIENCE)
