"""What the servers from wheels have in common: a command, who runs it, and when it is ready."""

import os
import socket
import subprocess
from collections.abc import Callable, Mapping
from itertools import cycle
from pathlib import Path
from signal import SIGINT, SIGKILL
from time import monotonic, sleep
from typing import Any, Protocol

HOST = "127.0.0.1"
_LOOK_AGAIN_SECONDS = 0.02

# Below what systems hand out to whoever connects or asks for any port, beside what houses choose from (deploy/local/ports.py), and of each
# process its own.
_FIRST_PORT = 10_000 + os.getpid() % 100 * 100
_ports = cycle(range(_FIRST_PORT, _FIRST_PORT + 100))


class ServerNotReady(Exception):
    """A server did not become ready in time; the message names its log."""


class Server(Protocol):
    """A server that can be prepared, started and asked."""

    @property
    def log(self) -> Path:
        """The file that it writes to what it has to say."""

    def prepare(self) -> None:
        """Make its folders and files; again is harmless."""

    def command(self) -> list[str]:
        """The command that runs it in the foreground."""

    def popen_arguments(self) -> Mapping[str, Any]:
        """As whom and where it runs, for `subprocess.Popen`."""

    def answers(self) -> bool:
        """Whether it takes requests."""


def start(server: Server, patience: float = 30.0) -> subprocess.Popen[bytes]:
    """Run a server until `stop`, and wait until it answers. Raises ServerNotReady."""
    server.prepare()
    with server.log.open("ab") as log:
        process = subprocess.Popen(  # noqa: S603 - a server of our own
            server.command(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            **server.popen_arguments(),
        )
    try:
        await_ready(server, process.poll, patience)
    except ServerNotReady:
        stop(process)
        raise
    return process


def stop(process: subprocess.Popen[bytes], patience: float = 10.0) -> None:
    """End a server that `start` began."""
    process.send_signal(SIGINT)
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        process.send_signal(SIGKILL)
        process.wait()


def await_ready(server: Server, ended: Callable[[], int | None], patience: float) -> None:
    """Wait until a server answers. Raises ServerNotReady when it ends before, or takes longer than `patience`."""
    deadline = monotonic() + patience
    while not server.answers():
        if ended() is not None or monotonic() > deadline:
            raise ServerNotReady(
                f"{server.command()[0]} is not ready; see {server.log}:\n{_tail(server.log)}"
            )
        sleep(_LOOK_AGAIN_SECONDS)


def listens(port: int) -> bool:
    """Whether anything takes connections on a port."""
    with socket.socket() as client:
        client.settimeout(1)
        return client.connect_ex((HOST, port)) == 0


def free_port() -> int:
    """A port that nobody takes until its program listens, nor while that is dead."""
    return next(port for port in _ports if not listens(port))


def free_address() -> str:
    """The same, as host:port."""
    return f"{HOST}:{free_port()}"


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-15:]) if log.exists() else ""
