"""Keeps one program running: starts it, sees it become ready, and starts it again whenever it dies."""

import asyncio
import os
import signal
from asyncio.subprocess import Process
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from time import monotonic, time

from deploy.local.supervisor.backoff import Backoff
from deploy.local.supervisor.census import PATIENCE, Census
from deploy.local.supervisor.program import Room

# Seconds between two looks at a program that is not ready yet.
_LOOK_AGAIN = 0.1


class Health(StrEnum):
    """How a program is."""

    WAITING = "waiting"
    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"
    STOPPED = "stopped"


class Keeper:
    """One program's life. `changed` is called whenever `health` or `pid` is another than before."""

    def __init__(self, room: Room, log: Path, census: Census, changed: Callable[[], None]) -> None:
        self.room = room
        self.health = Health.WAITING
        self.pid: int | None = None
        self.restarts = 0
        self.started: float | None = None
        self.problem = ""
        self.was_ready = asyncio.Event()
        self._log = log
        self._census = census
        self._changed = changed
        self._birth: asyncio.Task[Process] | None = None
        self._life: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to keep it."""
        self._life = asyncio.create_task(self._keep(), name=self.room.name)

    async def stop(self) -> None:
        """Stop keeping it, and end it: in order if it can, by force if not."""
        if self._life is not None:
            self._life.cancel()
            await asyncio.gather(self._life, return_exceptions=True)
        if self._birth is not None:
            with suppress(OSError):
                await _end(await self._birth, self.room.stop_signal)
        self.pid = None
        self._become(Health.STOPPED)

    async def _keep(self) -> None:
        backoff = Backoff()
        while True:
            born = monotonic()
            self.problem = await self._live()
            self.pid = None
            self.restarts += 1
            self._become(Health.RESTARTING)
            await asyncio.sleep(backoff.pause_after(monotonic() - born))

    async def _live(self) -> str:
        """One life from start to death; answers how it ended."""
        try:
            await asyncio.to_thread(self.room.program.prepare)
            # A birth is seen through, so that a house that closes meanwhile knows whom to end.
            self._birth = asyncio.create_task(self._born())
            child = await asyncio.shield(self._birth)
        except Exception as error:
            await asyncio.to_thread(_append, self._log, f"{error}\n")
            first_line = str(error).partition("\n")[0]
            return f"cannot be started: {first_line}"
        readiness = asyncio.create_task(self._await_ready())
        try:
            code = await child.wait()
        finally:
            readiness.cancel()
            await asyncio.gather(readiness, return_exceptions=True)
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"

    async def _born(self) -> Process:
        program = self.room.program
        with self._log.open("ab") as log:
            child = await asyncio.create_subprocess_exec(
                *program.command(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **program.popen_arguments(),
            )
        self._census.enter(
            self.room.name, child.pid, stop_signal=self.room.stop_signal, leaves_in_turn=self.room.turn
        )
        self.pid, self.started = child.pid, time()
        self._become(Health.STARTING)
        return child

    async def _await_ready(self) -> None:
        while not await asyncio.to_thread(self.room.program.answers):  # noqa: ASYNC110 - it has no event of ours
            await asyncio.sleep(_LOOK_AGAIN)
        self.problem = ""
        self.was_ready.set()
        self._become(Health.READY)

    def _become(self, health: Health) -> None:
        self.health = health
        self._changed()


def _append(log: Path, text: str) -> None:
    with log.open("a") as file:
        file.write(text)


async def _end(child: Process, stop_signal: signal.Signals) -> None:
    if child.returncode is not None:
        return
    with suppress(ProcessLookupError):
        child.send_signal(stop_signal)
    try:
        async with asyncio.timeout(PATIENCE):
            await child.wait()
    except TimeoutError:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        await child.wait()
