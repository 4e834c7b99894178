"""Gateways as processes of their own."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from chassis.secret import Secret
from gateway.tests.house import House

_ROOT = Path(__file__).parents[2]


def environment(house: House, **changes: str) -> dict[str, str]:
    """What a process is told that stands where the house's gateway stands, but for these variables."""
    told = {
        name.upper(): value.reveal() if isinstance(value, Secret) else str(value)
        for name, value in house.settings.items()
    }
    path = os.pathsep.join([str(_ROOT), str(_ROOT / "proto" / "gen")])
    return {**os.environ, "PYTHONPATH": path, **told, **changes}


@asynccontextmanager
async def gateway_process(told: Mapping[str, str]) -> AsyncIterator[asyncio.subprocess.Process]:
    """A gateway with this environment, killed at the end unless it has ended by itself."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", "serve", env=told, stderr=asyncio.subprocess.PIPE, cwd=_ROOT
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def ready(url: str) -> None:
    """Wait until a gateway takes requests."""
    async with asyncio.timeout(20), httpx.AsyncClient(verify=False) as client:
        while True:
            try:
                if (await client.get(f"{url}/readyz")).status_code == 200:
                    return
            except httpx.TransportError:
                await asyncio.sleep(0.05)
