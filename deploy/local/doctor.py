"""Looks whether this machine has what the house needs; each finding says how to mend it."""

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from chassis.secret import Secret
from deploy.local import ports
from deploy.local.premises import Premises
from deploy.local.servers.nats import Nats
from deploy.local.servers.postgres import Postgres
from deploy.local.servers.program import Server
from deploy.local.servers.redis import Redis
from deploy.local.servers.unprivileged import NobodyToRunAs, unprivileged_user
from deploy.local.state import SOURCES, StateFolder
from deploy.local.supervisor import presence

_OLDEST_PYTHON = (3, 11)
_GIBIBYTE = 1024**3
_DISK_NEEDED = 2 * _GIBIBYTE
_MEMORY_NEEDED = 2 * _GIBIBYTE
_INSTALL = "Run `make install`."
_LOCK = SOURCES / "locks" / "dev.txt"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: what was seen, and when that is not good, what to do."""

    what: str
    seen: str
    good: bool
    remedy: str = ""


def examine(state: StateFolder, variables: Mapping[str, str]) -> list[Finding]:
    """Everything that was looked at."""
    folder = _state_folder(state)
    looked_at = [
        _python(),
        _packages(),
        *_servers(state),
        _unprivileged(state),
        folder,
        _disk(state),
        _memory(),
    ]
    # Ports that were chosen are kept in the folder.
    return [*looked_at, _ports(state, variables)] if folder.good else looked_at


def _python() -> Finding:
    wanted = ".".join(map(str, _OLDEST_PYTHON))
    remedy = f"Install Python {wanted} or newer, delete .venv and run `make install`."
    seen = f"{platform.python_version()} ({sys.executable})"
    return Finding("Python", seen, sys.version_info >= _OLDEST_PYTHON, remedy)


def _packages() -> Finding:
    # What a line says after a semicolon is for other systems.
    locked = re.findall(r"^([a-z0-9.-]+)(?:\[.*\])?==(\S+) \\$", _LOCK.read_text(), re.MULTILINE)
    wrong = [f"{name} {wanted}" for name, wanted in locked if _installed(name) != wanted]
    if wrong:
        return Finding("packages", f"not as locked: {', '.join(wrong)}", good=False, remedy=_INSTALL)
    return Finding("packages", f"{len(locked)}, as locked", good=True)


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _servers(state: StateFolder) -> list[Finding]:
    """The servers from wheels, without the ports and secrets that they would get."""
    postgres = Postgres(state.root / "postgres", 0, state.log("postgres"), Secret(""))
    nats = Nats(state.root / "nats", 0, state.log("nats"), "")
    redis = Redis(state.root / "redis", 0, state.log("redis"), "")
    return [_server("PostgreSQL", postgres), _server("NATS", nats), _server("Redis", redis)]


def _server(name: str, server: Server) -> Finding:
    """Whether its program runs at all: a wheel may be missing, or not fit this system."""
    try:
        environment = server.popen_arguments().get("env", os.environ)
        answer = subprocess.run(  # noqa: S603 - a server of our own
            [server.command()[0], "--version"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
    except (OSError, RuntimeError, NobodyToRunAs, subprocess.SubprocessError) as error:
        return Finding(name, f"does not run: {error}", good=False, remedy=_INSTALL)
    return Finding(name, answer.stdout.strip(), good=True)


def _unprivileged(state: StateFolder) -> Finding:
    """As whom PostgreSQL runs, and whether that user gets to its data."""
    try:
        user = unprivileged_user()
    except NobodyToRunAs as problem:
        remedy = "Add one (`useradd --system postgres`), or run this as somebody other than root."
        return Finding("user", str(problem), good=False, remedy=remedy)
    if user is None:
        return Finding("user", "not root: PostgreSQL runs as you", good=True)
    where = (
        "" if user.can_reach(state.root) else f", with a folder outside {state.root}, which it cannot enter"
    )
    return Finding("user", f"root: PostgreSQL runs as {user.name}{where}", good=True)


def _state_folder(state: StateFolder) -> Finding:
    folder = _existing(state.root)
    remedy = f"Make {folder} a folder that you can write, or let FLOWNURTURE_VAR name another."
    good = folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)
    return Finding("state", str(state.root), good, remedy)


def _disk(state: StateFolder) -> Finding:
    free = shutil.disk_usage(_existing(state.root)).free
    remedy = "Free 2 GiB, or let FLOWNURTURE_VAR name a folder on another disk."
    return Finding("disk", f"{free / _GIBIBYTE:.1f} GiB free", free >= _DISK_NEEDED, remedy)


def _memory() -> Finding:
    available = psutil.virtual_memory().available
    remedy = "Close other programs: the house takes up to 1.6 GiB."
    return Finding(
        "memory", f"{available / _GIBIBYTE:.1f} GiB available", available >= _MEMORY_NEEDED, remedy
    )


def _ports(state: StateFolder, variables: Mapping[str, str]) -> Finding:
    if presence.supervisor(state.supervisor):
        return Finding("ports", "in use by this house, which is up", good=True)
    try:
        chosen = Premises.chosen(state, variables).ports
    except (ports.PortTaken, ports.PortInvalid) as problem:
        return Finding("ports", "not all can be used", good=False, remedy=str(problem))
    return Finding("ports", f"free: {chosen.gateway} (API), {chosen.mail} (mail), and the others", good=True)


def _existing(folder: Path) -> Path:
    # What lies below a folder that we may not enter is not there for us; `Path.exists` would raise.
    return next(path for path in (folder, *folder.parents) if os.path.exists(path))
