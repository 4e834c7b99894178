"""The pid file of a PostgreSQL cluster, when whoever it names is no longer minded by anybody.

PostgreSQL refuses to start while the pid in it is alive, even if that has long passed to another program.
"""

import signal
from contextlib import suppress
from pathlib import Path

import psutil

from deploy.local.supervisor.presence import await_end

_PATIENCE = 20.0  # seconds


def dismiss(data: Path) -> None:
    """End the server that still runs on this cluster, if there is one; forget a pid file that names a stranger."""
    pid_file = data / "postmaster.pid"
    with suppress(FileNotFoundError, ValueError, IndexError, psutil.NoSuchProcess):
        server = psutil.Process(int(pid_file.read_text().split()[0]))
        if not _serves(server, data):
            pid_file.unlink()
            return
        server.send_signal(signal.SIGINT)
        if await_end([server], _PATIENCE):
            server.send_signal(signal.SIGQUIT)
            await_end([server], _PATIENCE)


def _serves(process: psutil.Process, data: Path) -> bool:
    with suppress(psutil.AccessDenied):
        return process.name() == "postgres" and Path(process.cwd()) == data.resolve()
    return False
