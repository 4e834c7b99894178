"""The life of a supervisor: one for each state folder, from `up` to `down`."""

import asyncio
import fcntl
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from deploy.local.ports import PortInvalid, PortTaken
from deploy.local.state import StateFolder
from deploy.local.supervisor import census, logs, presence
from deploy.local.supervisor.house import House
from deploy.local.supervisor.plan import HouseCannotStand, Plan
from deploy.local.supervisor.report import Phase, Report


def supervise(state: StateFolder, make_plan: Callable[[StateFolder], Plan]) -> int:
    """Open the house of this folder and keep it until SIGTERM; the exit code.

    What an earlier supervisor left is cleared away first. When another one lives, there is nothing to do.
    """
    state.logs.mkdir(parents=True, exist_ok=True)
    with _alone(state) as alone:
        if not alone:
            return 0
        presence.announce(state.supervisor)
        report = Report(state, os.getpid())
        report.enter(Phase.STARTING)
        try:
            census.clear(census.left_over(state.census))
            asyncio.run(_live(state, make_plan(state), report))
        except (HouseCannotStand, PortTaken, PortInvalid) as problem:
            report.enter(Phase.FAILED, str(problem))
            return 1
        except Exception as problem:
            report.enter(Phase.FAILED, f"The supervisor failed: {problem!r}")
            raise
        report.enter(Phase.CLOSED)
        return 0


async def _live(state: StateFolder, plan: Plan, report: Report) -> None:
    told_to_stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, told_to_stop.set)
    house = House(state, plan, report)
    bounding = asyncio.create_task(logs.bound(state.logs))
    opening = asyncio.create_task(house.open())
    stop = asyncio.create_task(told_to_stop.wait())
    try:
        await asyncio.wait((opening, stop), return_when=asyncio.FIRST_COMPLETED)
        if not stop.done():
            opening.result()
        await stop
    finally:
        for task in (opening, stop, bounding):
            task.cancel()
        await asyncio.gather(opening, stop, bounding, return_exceptions=True)
        await house.close()


@contextmanager
def _alone(state: StateFolder) -> Iterator[bool]:
    with state.lock.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
