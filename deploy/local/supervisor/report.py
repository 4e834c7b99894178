"""What the supervisor tells others: how the house is (status.json), and where (local.json)."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from deploy.local.state import StateFolder, write_json
from deploy.local.supervisor.keeper import Keeper


class Phase(StrEnum):
    """Where the house is in its life."""

    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"
    FAILED = "failed"
    CLOSED = "closed"


class Report:
    """Written anew with each change, so that it is always true."""

    def __init__(self, state: StateFolder, supervisor: int) -> None:
        self._state = state
        self._supervisor = supervisor
        self._phase = Phase.STARTING
        self._remark = ""
        self._keepers: Sequence[Keeper] = ()
        self._facts: Mapping[str, Any] = {}

    def describe(self, keepers: Sequence[Keeper], facts: Mapping[str, Any]) -> None:
        """From now on, tell about these programs and facts."""
        self._keepers, self._facts = keepers, facts
        self.write()

    def enter(self, phase: Phase, remark: str = "") -> None:
        """The house has come this far; a remark says what it does or what is wrong."""
        self._phase, self._remark = phase, remark
        self.write()

    def write(self) -> None:
        """Write both files. There is a run file while there is a house to be used.

        It comes first: who reads of a house that is ready goes on to read where it is.
        """
        if self._phase is Phase.READY:
            processes = [
                {"name": keeper.room.name, "pid": keeper.pid, "url": keeper.room.url}
                for keeper in self._keepers
            ]
            write_json(self._state.run_file, {**self._facts, "processes": processes})
        else:
            self._state.run_file.unlink(missing_ok=True)
        write_json(
            self._state.status,
            {
                "supervisor": self._supervisor,
                "phase": self._phase,
                "remark": self._remark,
                "rooms": [
                    {
                        "name": keeper.room.name,
                        "url": keeper.room.url,
                        "pid": keeper.pid,
                        "health": keeper.health,
                        "started": keeper.started,
                        "restarts": keeper.restarts,
                        "problem": keeper.problem,
                    }
                    for keeper in self._keepers
                ],
            },
        )
