"""The processes of the service as they are run, and the servers that they need: each can be killed and started again."""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from typing import Self

import psutil

from deploy.local.servers.program import Server, start
from deploy.local.state import SOURCES
from deploy.local.supervisor.program import PythonProgram

_MODULES = {
    "sending": "services.sending",
    "suppression": "services.sending.suppression",
    "delivery": "services.sending.delivery",
    "feedback": "services.sending.feedback",
    "workflows": "services.sending.workflows",
}

# A start takes two seconds, on a machine that has nothing else to do.
_PATIENCE_SECONDS = 120.0
_END_SECONDS = 30.0
_TAIL_LINES = 20
# Tracebacks are a line, and the whole of it is long.
_LINE_CHARACTERS = 400


@dataclass(frozen=True, slots=True)
class ServiceProcess(PythonProgram):
    """A process of the service that logs into a file."""

    log: Path


def service_process(name: str, environment: Mapping[str, str], log: Path) -> ServiceProcess:
    """The process of that name, ready when its side port says so."""
    return ServiceProcess(
        arguments=(_MODULES[name], "serve"),
        environment={**environment, "PYTHONPATH": f"{SOURCES}{os.pathsep}{SOURCES / 'proto' / 'gen'}"},
        ready_url=f"http://{environment['METRICS_LISTEN']}/readyz",
        python=Path(sys.executable),
        log=log,
    )


class House:
    """Programs by name. Whoever leaves it leaves none of them behind."""

    def __init__(self, programs: Mapping[str, Server]) -> None:
        self._programs = programs
        self._running: dict[str, Popen[bytes]] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for name in list(self._running):
            await self.kill(name)

    async def start(self, *names: str) -> None:
        """Start programs side by side; returns when each of them is ready. Raises ServerNotReady."""
        begun = await asyncio.gather(*map(self._start, names), return_exceptions=True)
        for failure in filter(None, begun):
            raise failure

    async def mend(self) -> None:
        """Start whatever does not run."""
        await self.start(*(name for name in self._programs if not self._runs(name)))

    async def kill(self, name: str) -> None:
        """Kill a program and all that it has started, without a warning."""
        process = self._running.pop(name)
        family = psutil.Process(process.pid)
        victims = [family, *family.children(recursive=True)]
        for victim in victims:
            with suppress(psutil.NoSuchProcess):
                victim.kill()
        await asyncio.to_thread(psutil.wait_procs, victims, _END_SECONDS)
        process.wait()

    async def stop(self, name: str) -> int:
        """Tell a program to end; answers its exit code."""
        process = self._running.pop(name)
        process.send_signal(signal.SIGTERM)
        return await asyncio.to_thread(process.wait, _END_SECONDS)

    async def _start(self, name: str) -> None:
        self._running[name] = await asyncio.to_thread(start, self._programs[name], _PATIENCE_SECONDS)

    def _runs(self, name: str) -> bool:
        return name in self._running and self._running[name].poll() is None

    def whole(self) -> bool:
        """Whether every program runs."""
        return all(map(self._runs, self._programs))

    def tails(self) -> str:
        """The end of what each program has logged."""
        return "\n".join(f"--- {name}\n{_tail(program.log)}" for name, program in self._programs.items())


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return "\n".join(line[:_LINE_CHARACTERS] for line in lines[-_TAIL_LINES:])
