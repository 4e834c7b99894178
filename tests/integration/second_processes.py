"""A second process beside one of the house: what one of them is told must hold at the other."""

import asyncio
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path

import httpx

from deploy.demo.waiting import until
from deploy.local.servers.program import free_address
from tests.integration.house import House

_ROOT = Path(__file__).parents[2]
_START_SECONDS = 30


class SecondProcess:
    """A process beside the house's own, which can be killed, and started anew where it was."""

    def __init__(self, module: str, environment: Mapping[str, str], ready_url: str) -> None:
        self.environment = environment
        self._module = module
        self._ready_url = ready_url
        self._process: Process | None = None

    async def start(self) -> None:
        """Start it; returns when it is ready."""
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", self._module, "serve"),
            cwd=_ROOT,
            env=self.environment,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        async with httpx.AsyncClient(verify=False) as client:
            is_ready = await until(lambda: _is_ready(client, self._ready_url), bool, seconds=_START_SECONDS)
        assert is_ready, f"{self._module} does not become ready"

    async def kill(self) -> None:
        """As the system would, with no time to say anything."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> None:
        """Have it end as it should, if it runs."""
        await self._end(signal.SIGTERM)

    async def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            with suppress(ProcessLookupError):
                process.send_signal(how)
            await process.wait()


@asynccontextmanager
async def second_webhooks(house: House) -> AsyncIterator[SecondProcess]:
    """A webhooks process that shares the endpoints with the house's own."""
    async with _second(house, "webhooks", "services.webhooks", "METRICS_LISTEN", {}) as (process, _):
        yield process


@asynccontextmanager
async def second_gateway(house: House, **otherwise: str) -> AsyncIterator[str]:
    """A gateway with the environment of the house's own, but for its ports and what is said otherwise; answers its URL."""
    async with _second(house, "gateway", "gateway", "LISTEN", otherwise) as (_, address):
        yield f"http://{address}"


@asynccontextmanager
async def second_suppression(house: House, **otherwise: str) -> AsyncIterator[str]:
    """The same of a suppression process; answers its address."""
    async with _second(house, "suppression", "services.sending.suppression", "METRICS_LISTEN", otherwise) as (
        _,
        address,
    ):
        yield address


@asynccontextmanager
async def second_integrations(house: House, **otherwise: str) -> AsyncIterator[str]:
    """The same of an integrations process."""
    async with mortal_integrations(house, **otherwise) as (_, address):
        yield address


def mortal_integrations(
    house: House, **otherwise: str
) -> AbstractAsyncContextManager[tuple[SecondProcess, str]]:
    """The same, to be killed."""
    return _second(house, "integrations", "services.integrations", "METRICS_LISTEN", otherwise)


@asynccontextmanager
async def _second(
    house: House, name: str, module: str, readiness: str, otherwise: Mapping[str, str]
) -> AsyncIterator[tuple[SecondProcess, str]]:
    ports = {setting: free_address() for setting in ("LISTEN", "METRICS_LISTEN")}
    environment = _environment_of(house.pid(name)) | ports | dict(otherwise)
    process = SecondProcess(module, environment, f"http://{ports[readiness]}/readyz")
    try:
        await process.start()
        yield process, ports["LISTEN"]
    finally:
        await process.stop()


async def _is_ready(client: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await client.get(url)).status_code == 200
    except httpx.TransportError:
        return False


def _environment_of(pid: int | None) -> dict[str, str]:
    entries = Path(f"/proc/{pid}/environ").read_bytes().decode().rstrip("\0").split("\0")
    return dict(entry.split("=", 1) for entry in entries)
