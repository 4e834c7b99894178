"""Measures the local runtime against its figures, and prints them as one line of JSON."""

import platform
from time import monotonic, sleep
from typing import Any

import psutil

from deploy.local import consumption
from deploy.local.opening import Opening, Status, close
from deploy.local.state import StateFolder
from deploy.local.supervisor import presence

_READY_WITHIN = 20.0  # seconds
_RESIDENT_AT_MOST = 1.6 * 1024  # MiB
_IDLE_AT_MOST = 5.0  # percent of one core
_IDLE_FOR = 20.0  # seconds
# What a start leaves to be done: first polls, connections of pools, the servers' own housekeeping.
_SETTLES_FOR = 5.0


def measure(state: StateFolder) -> dict[str, Any]:
    """Open the house warm, let it idle, and read what it takes. A house that was closed before is closed after."""
    was_open = presence.supervisor(state.supervisor) is not None
    opening = Opening(state, watch=lambda _: None)
    opening.run()
    close(state)
    began = monotonic()
    status = opening.run()
    ready = monotonic() - began
    try:
        sleep(_SETTLES_FOR)
        processes = _everybody(status)
        before, began = consumption.processor_seconds(processes), monotonic()
        sleep(_IDLE_FOR)
        idle = 100 * (consumption.processor_seconds(processes) - before) / (monotonic() - began)
        resident = consumption.resident(processes) / consumption.MEBIBYTE
        proportional = consumption.proportional(processes) / consumption.MEBIBYTE
    finally:
        if not was_open:
            close(state)
    return {
        "ready_seconds": round(ready, 2),
        "resident_mib": round(resident),
        "proportional_mib": round(proportional),
        "idle_percent_of_a_core": round(idle, 2),
        "machine": f"{platform.machine()}, {psutil.cpu_count()} cores, "
        f"{psutil.virtual_memory().total // consumption.MEBIBYTE} MiB, Python {platform.python_version()}",
        "meets": ready <= _READY_WITHIN and resident <= _RESIDENT_AT_MOST and idle <= _IDLE_AT_MOST,
    }


def _everybody(status: Status) -> list[psutil.Process]:
    rooms = [room["pid"] for room in status["rooms"] if room["pid"]]
    return [*consumption.family(rooms), psutil.Process(status["supervisor"])]
