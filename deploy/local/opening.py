"""Opens a house and closes it, from outside: starts the supervisor, watches what it reports, tells it to stop."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from tempfile import TemporaryFile
from time import monotonic, sleep
from typing import Any

from deploy.local.state import SOURCES, StateFolder, read_json
from deploy.local.supervisor import census, presence
from deploy.local.supervisor.logs import last_lines
from deploy.local.supervisor.report import Phase

SUPERVISOR = (sys.executable, "-m", "deploy.local.supervisor")

_LOOK_AGAIN = 0.1  # seconds
_PATIENCE = 180.0
# Who died so often before it was ever ready will not become ready by dying again.
_HOPELESS_AFTER = 5
# The supervisor gives each of four turns its patience.
_CLOSING_PATIENCE = 4 * census.PATIENCE + 10

Status = dict[str, Any]


class HouseNotOpen(Exception):
    """The house did not become ready; the message says what is not, and the last words of its log."""


@dataclass(slots=True)
class Opening:
    """The opening of one house."""

    state: StateFolder
    watch: Callable[[Status], None]
    command: Sequence[str] = SUPERVISOR

    def run(self) -> Status:
        """Make sure that a supervisor lives and wait until its house is ready. Raises HouseNotOpen."""
        self._make_folders()
        started: subprocess.Popen[bytes] | None = None
        deadline = monotonic() + _PATIENCE
        while monotonic() < deadline:
            if presence.supervisor(self.state.supervisor) is None:
                if started is None or self._gave_way(started):
                    started = self._start()
                elif started.poll() is not None:
                    raise HouseNotOpen(self._end(started))
            status = self._status(started)
            if status is not None:
                self.watch(status)
                if status["phase"] == Phase.READY:
                    return status
                self._require_hope(status)
            sleep(_LOOK_AGAIN)
        raise HouseNotOpen(self._unready(read_json(self.state.status) or {"rooms": []}))

    def _make_folders(self) -> None:
        try:
            for folder in (self.state.logs, self.state.run):
                folder.mkdir(parents=True, exist_ok=True)
                TemporaryFile(dir=folder).close()
        except OSError as error:
            raise HouseNotOpen(
                f"The state of a house cannot be kept in {self.state.root}: {error}.\n"
                "Make it a folder that you can write, or let FLOWNURTURE_VAR name another."
            ) from None

    def _start(self) -> subprocess.Popen[bytes]:
        with self.state.log("supervisor").open("ab") as log:
            return subprocess.Popen(  # noqa: S603 - our own module
                self.command,
                cwd=SOURCES,
                env={**os.environ, "FLOWNURTURE_VAR": str(self.state.root), "PYTHONPATH": python_path()},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _status(self, started: subprocess.Popen[bytes] | None) -> Status | None:
        """What the supervisor reports, unless that was an earlier one."""
        status: Status | None = read_json(self.state.status)
        if status is None:
            return None
        living = presence.supervisor(self.state.supervisor)
        authors = {process.pid for process in (living, started) if process}
        return status if status["supervisor"] in authors else None

    def _require_hope(self, status: Status) -> None:
        if any(room["restarts"] >= _HOPELESS_AFTER and room["health"] != "ready" for room in status["rooms"]):
            raise HouseNotOpen(self._unready(status))

    def _gave_way(self, supervisor: subprocess.Popen[bytes]) -> bool:
        """Whether it left without a word: another one was there first."""
        return supervisor.poll() == 0 and self._told_by(supervisor) is None

    def _told_by(self, supervisor: subprocess.Popen[bytes]) -> Status | None:
        status: Status | None = read_json(self.state.status)
        return status if status and status["supervisor"] == supervisor.pid else None

    def _end(self, supervisor: subprocess.Popen[bytes]) -> str:
        status = self._told_by(supervisor)
        if status and status["phase"] == Phase.FAILED:
            return str(status["remark"])
        if supervisor.returncode == 0:
            return "It was closed while it was being opened."
        log, code = self.state.log("supervisor"), supervisor.returncode
        return f"The supervisor ended with exit code {code}. Its last words ({log}):\n{last_lines(log)}"

    def _unready(self, status: Status) -> str:
        return "\n".join(
            f"{room['name']} is not ready ({room['health']}{problem(room)}). Its last words "
            f"({self.state.log(room['name'])}):\n{last_lines(self.state.log(room['name']))}"
            for room in status["rooms"]
            if room["health"] in ("starting", "restarting")
        )


def problem(room: Status) -> str:
    """What a room's last trouble was, to follow its health."""
    return f": it {room['problem']}" if room["problem"] else ""


def python_path() -> str:
    """Where Python finds the sources and what is generated from the contract."""
    return f"{SOURCES}{os.pathsep}{SOURCES / 'proto' / 'gen'}"


def close(state: StateFolder) -> bool:
    """End the house, and whatever an earlier supervisor left of one; whether there was anything to end."""
    supervisor = presence.supervisor(state.supervisor)
    if supervisor is not None:
        supervisor.terminate()
        if presence.await_end([supervisor], _CLOSING_PATIENCE):
            supervisor.kill()
            presence.await_end([supervisor], census.PATIENCE)
    remaining = census.left_over(state.census)
    census.clear(remaining)
    state.census.unlink(missing_ok=True)
    state.run_file.unlink(missing_ok=True)
    return supervisor is not None or bool(remaining)
