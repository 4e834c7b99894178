"""`python -m bench.sending`: the engine's SMTP against other ways to hand the same messages to the same relay.

The relay is Debian's `smtp-sink` (package postfix), which is also where `smtp-source` comes from. The contenders take turns, so
that what else the machine does weighs on all; the last line is JSON, of the medians of all rounds.
"""

import json
import os
import platform
import resource
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Annotated

import typer

from bench.sending.contenders import CONNECTIONS, RECIPIENT, SENDER, SIZE

_TIMES_LIBRARY = 8
_TIMES_SOURCE = 2


@dataclass(frozen=True, slots=True)
class Turn:
    """What it took to hand messages over once."""

    messages: int
    seconds: float
    processor_seconds: float

    @property
    def rate(self) -> float:
        """Messages a second."""
        return self.messages / self.seconds

    @property
    def processor_microseconds(self) -> float:
        """Of the sender alone, a message."""
        return self.processor_seconds / self.messages * 1e6


def main(
    messages: Annotated[int, typer.Option(help="Messages that a round hands over.")] = 24_000,
    rounds: Annotated[int, typer.Option(help="Rounds, in which the contenders take turns.")] = 5,
) -> None:
    """Measure; exits with 1 when a stated figure is not met, with 2 without Debian's package postfix."""
    sink, source = _program("smtp-sink"), _program("smtp-source")
    turns: dict[str, list[Turn]] = {"engine": [], "library": [], "source": []}
    with _sink(sink) as port:
        for _ in range(rounds):
            turns["engine"].append(_own("engine", port, messages))
            turns["source"].append(_source(source, port, messages))
            # Slower by far: fewer messages tell as much.
            turns["library"].append(_own("library", port, messages // 8))
    rates = {name: [turn.rate for turn in found] for name, found in turns.items()}
    medians = {name: median(found) for name, found in rates.items()}
    figures = {
        "messages_per_second": {name: round(rate) for name, rate in medians.items()},
        "spread": {name: [round(min(found)), round(max(found))] for name, found in rates.items()},
        "processor_microseconds": {
            name: round(median(turn.processor_microseconds for turn in found))
            for name, found in turns.items()
        },
        "times_library": round(medians["engine"] / medians["library"], 2),
        "times_source": round(medians["engine"] / medians["source"], 2),
        "machine": {"cores": os.cpu_count(), "python": platform.python_version()},
    }
    meets = medians["engine"] >= max(_TIMES_LIBRARY * medians["library"], _TIMES_SOURCE * medians["source"])
    print(json.dumps(figures | {"meets": meets}))
    raise typer.Exit(0 if meets else 1)


def _program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None:
        print(f"{name} is missing: apt-get install postfix", file=sys.stderr)
        raise typer.Exit(2)
    return found


@contextmanager
def _sink(program: str) -> Iterator[int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    user = ["-u", "nobody"] if os.geteuid() == 0 else []
    process = subprocess.Popen([program, *user, f"127.0.0.1:{port}", "100"])  # noqa: S603
    try:
        _await_listening(port)
        yield port
    finally:
        process.terminate()
        process.wait()


def _await_listening(port: int) -> None:
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(0.05)
        else:
            return
    raise SystemExit("smtp-sink does not listen")


def _own(name: str, port: int, messages: int) -> Turn:
    """A turn of one of `contenders`, without the start of its interpreter."""
    command = [sys.executable, "-m", "bench.sending.contenders", name, str(port), str(messages)]
    measured = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)  # noqa: S603
    return Turn(messages, measured["seconds"], measured["processor_seconds"])


def _source(program: str, port: int, messages: int) -> Turn:
    """A turn of `smtp-source`, which is told to keep its connections."""
    command = [program, "-d", "-s", str(CONNECTIONS), "-m", str(messages), "-l", str(SIZE)]
    command += ["-f", SENDER, "-t", RECIPIENT, f"127.0.0.1:{port}"]
    used, began = _of_children(), time.perf_counter()
    subprocess.run(command, check=True)  # noqa: S603
    return Turn(messages, time.perf_counter() - began, _of_children() - used)


def _of_children() -> float:
    """Processor seconds of the processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    typer.run(main)
