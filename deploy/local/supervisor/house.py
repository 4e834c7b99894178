"""Opens the house by its plan, keeps everything in it alive, and closes it in order."""

import asyncio

from deploy.local.state import StateFolder
from deploy.local.supervisor.census import Census
from deploy.local.supervisor.keeper import Keeper
from deploy.local.supervisor.logs import last_lines
from deploy.local.supervisor.plan import HouseCannotStand, Plan, Preparation
from deploy.local.supervisor.program import Turn
from deploy.local.supervisor.report import Phase, Report


class House:
    """The programs of a plan, kept."""

    def __init__(self, state: StateFolder, plan: Plan, report: Report) -> None:
        self._state = state
        self._plan = plan
        self._report = report
        self._census = Census(state.census)
        self._keepers = {
            room.name: Keeper(room, state.log(room.name), self._census, report.write)
            for room in (*plan.servers, *plan.processes)
        }

    async def open(self) -> None:
        """Start everything and return when all of it has been ready. Raises HouseCannotStand."""
        self._report.describe(tuple(self._keepers.values()), self._plan.facts)
        for room in self._plan.servers:
            self._keepers[room.name].start()
        await asyncio.gather(*(self._prepare(preparation) for preparation in self._plan.preparations))
        for room in self._plan.processes:
            self._keepers[room.name].start()
        await asyncio.gather(*(keeper.was_ready.wait() for keeper in self._keepers.values()))
        self._report.enter(Phase.READY)

    async def close(self) -> None:
        """End everything, each in its turn."""
        self._report.enter(Phase.STOPPING)
        for turn in Turn:
            leaving = [keeper for keeper in self._keepers.values() if keeper.room.turn is turn]
            await asyncio.gather(*(keeper.stop() for keeper in leaving))
        self._census.close()

    async def _prepare(self, preparation: Preparation) -> None:
        for name in preparation.needs:
            await self._keepers[name].was_ready.wait()
        log = self._state.log(preparation.name)
        with log.open("ab") as output:
            child = await asyncio.create_subprocess_exec(
                *preparation.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=dict(preparation.environment),
            )
        try:
            code = await child.wait()
        except asyncio.CancelledError:
            child.terminate()
            await child.wait()
            raise
        if code != 0:
            raise HouseCannotStand(
                f"{preparation.name} failed with exit code {code}. Its last words ({log}):\n{last_lines(log)}"
            )
