"""The relays that mail is handed over to, each in a process of its own."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import typer

from bench.sending.ports import unused_port
from bench.sending.turns import say
from deploy.local.servers.program import listens

_BACKLOG = "100"


@dataclass(frozen=True, slots=True)
class Sink:
    """A relay that takes everything."""

    port: int
    pid: int


def debian(name: str) -> str:
    """A program of Debian's; exits with 2 when it is not installed."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None:
        say(f"{name} is missing: apt-get install postfix opendkim")
        raise typer.Exit(2)
    return found


@contextmanager
def debian_sink(port: int | None = None) -> Iterator[Sink]:
    """Debian's `smtp-sink` (package postfix), on a free port unless one is given."""
    port = port or unused_port()
    user = ["-u", "nobody"] if os.geteuid() == 0 else []
    with running([debian("smtp-sink"), *user, f"127.0.0.1:{port}", _BACKLOG], port) as sink:
        yield sink


@contextmanager
def receiver(notes: Path | None = None) -> Iterator[Sink]:
    """`bench.sending.receiver`, which takes more messages a second and notes when."""
    port = unused_port()
    command = [sys.executable, "-m", "bench.sending.receiver", str(port)]
    with running([*command, str(notes)] if notes else command, port) as sink:
        yield sink


def noted(notes: Path) -> dict[str, float]:
    """When the receiver had whose message, in seconds since 1970; the first where there are several."""
    arrivals: dict[str, float] = {}
    for line in notes.read_text().splitlines():
        recipient, _, moment = line.rpartition(" ")
        arrivals.setdefault(recipient, float(moment))
    return arrivals


@contextmanager
def running(command: Sequence[str], port: int) -> Iterator[Sink]:
    """A program that listens on a port, until this is left."""
    process = subprocess.Popen(command)  # noqa: S603 - of Debian's or our own
    try:
        deadline = time.monotonic() + 20
        while not listens(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{command[0]} does not listen")
            time.sleep(0.02)
        yield Sink(port, process.pid)
    finally:
        process.terminate()
        process.wait()
