"""A second process beside one of the house: what one of them is told must hold at the other."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from deploy.demo.waiting import until
from tests.integration.house import House

_ROOT = Path(__file__).parents[2]
_START_SECONDS = 30


@asynccontextmanager
async def second_gateway(house: House, **otherwise: str) -> AsyncIterator[str]:
    """A gateway with the environment of the house's own, but for its ports and what is said otherwise; answers its URL."""
    async with _second(house, "gateway", "gateway", "LISTEN", otherwise) as address:
        yield f"http://{address}"


@asynccontextmanager
async def second_suppression(house: House, **otherwise: str) -> AsyncIterator[str]:
    """The same of a suppression process; answers its address."""
    async with _second(
        house, "suppression", "services.sending.suppression", "METRICS_LISTEN", otherwise
    ) as address:
        yield address


@asynccontextmanager
async def _second(
    house: House, name: str, module: str, readiness: str, otherwise: Mapping[str, str]
) -> AsyncIterator[str]:
    ports = {setting: f"127.0.0.1:{_free_port()}" for setting in ("LISTEN", "METRICS_LISTEN")}
    environment = _environment_of(house.pid(name)) | ports | dict(otherwise)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, "serve"),
        cwd=_ROOT,
        env=environment,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with httpx.AsyncClient() as client:
            await until(lambda: _is_ready(client, f"http://{ports[readiness]}"), bool, seconds=_START_SECONDS)
        yield ports["LISTEN"]
    finally:
        process.terminate()
        await process.wait()


async def _is_ready(client: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await client.get(f"{url}/readyz")).status_code == 200
    except httpx.TransportError:
        return False


def _environment_of(pid: int | None) -> dict[str, str]:
    entries = Path(f"/proc/{pid}/environ").read_bytes().decode().rstrip("\0").split("\0")
    return dict(entry.split("=", 1) for entry in entries)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
