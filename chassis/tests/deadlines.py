"""Waiting in tests: for a condition, with a deadline, never for a time."""

import asyncio
from collections.abc import Awaitable, Callable


async def until(
    condition: Callable[[], bool | Awaitable[bool]], seconds: float = 30, *, pause: float = 0.01
) -> None:
    """Return as soon as the condition holds; raises TimeoutError when it does not in time. It is asked after each `pause`."""
    async with asyncio.timeout(seconds):
        while True:
            holds = condition()
            if await holds if isinstance(holds, Awaitable) else holds:
                return
            await asyncio.sleep(pause)
