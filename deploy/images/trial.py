"""Opens a house of containers, and plays the demo in it."""

import os
import subprocess
import sys
from collections.abc import Callable

from deploy.images.engine import Engine
from deploy.local.opening import Opening, Status
from deploy.local.state import SOURCES, StateFolder

_SUPERVISOR = (sys.executable, "-m", "deploy.images.supervisor")


def open_house(state: StateFolder, engine: Engine, tag: str, watch: Callable[[Status], None]) -> None:
    """Open the house in this folder, on free ports. Raises HouseNotOpen."""
    # What is started from here on is told by its environment, as in any house.
    os.environ |= {
        "ENGINE": engine.command,
        "TAG": tag,
        "FLOWNURTURE_VAR": str(state.root),
        "FLOWNURTURE_PORTS": "free",
    }
    Opening(state, watch, _SUPERVISOR).run()


def play_demo() -> int:
    """Play the demo in the house that was opened, and that nobody finds after; its exit code."""
    return subprocess.run(
        (sys.executable, "-m", "deploy.demo", "--house-ends"), cwd=SOURCES, check=False
    ).returncode
