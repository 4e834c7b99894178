"""A house of two programs that need no servers, supervised like the real one: `python tiny_house.py`."""

import os
import sys
from pathlib import Path

from deploy.local.ports import HOST, choose, require_free
from deploy.local.state import StateFolder
from deploy.local.supervisor.plan import Plan
from deploy.local.supervisor.program import PythonProgram, Room, Turn
from deploy.local.supervisor.supervise import supervise


def plan(state: StateFolder) -> Plan:
    """A web server that is a server, and one that is a process."""
    ports = choose(os.environ, state.ports)
    require_free(ports)
    rooms = [
        Room(
            name,
            PythonProgram(
                arguments=(
                    os.environ.get("TINY_MODULE", "http.server"),
                    str(port),
                    "--bind",
                    HOST,
                    "--directory",
                    str(state.logs),
                ),
                environment={"PATH": os.environ["PATH"]},
                ready_url=f"http://{HOST}:{port}/",
                python=Path(sys.executable),
            ),
            url=f"http://{HOST}:{port}",
            turn=turn,
        )
        for name, port, turn in (
            ("cellar", ports.postgres, Turn.DATABASE),
            ("attic", ports.gateway, Turn.EDGE),
        )
    ]
    return Plan(
        servers=(rooms[0],), preparations=(), processes=(rooms[1],), facts={"gateway_url": rooms[1].url}
    )


if __name__ == "__main__":
    sys.exit(supervise(StateFolder.of(os.environ), plan))
