"""A second gateway beside the one of the house: what one of them is told must hold at the other."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from deploy.demo.waiting import until
from tests.integration.house import House

_ROOT = Path(__file__).parents[2]
_START_SECONDS = 30


@asynccontextmanager
async def second_gateway(house: House) -> AsyncIterator[str]:
    """A gateway with the environment of the house's own, but for its ports; answers its URL."""
    environment = _environment_of(house.pid("gateway"))
    serving, side = _free_port(), _free_port()
    environment |= {"LISTEN": f"127.0.0.1:{serving}", "METRICS_LISTEN": f"127.0.0.1:{side}"}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "serve"),
        cwd=_ROOT,
        env=environment,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{serving}"
    try:
        async with httpx.AsyncClient() as client:
            await until(lambda: _is_ready(client, url), bool, seconds=_START_SECONDS)
        yield url
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
