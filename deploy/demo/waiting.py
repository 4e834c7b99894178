"""Waiting for what happens in the background: on a condition, with a deadline."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

Seen = TypeVar("Seen")

_PAUSE_SECONDS = 0.3


async def until(
    look: Callable[[], Awaitable[Seen]],
    satisfied: Callable[[Seen], bool],
    *,
    seconds: float,
    pause: float = _PAUSE_SECONDS,
) -> Seen:
    """Look again and again until it satisfies. After the deadline, answers what was seen last: a check will tell."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    seen = await look()
    while not satisfied(seen) and loop.time() < deadline:
        await asyncio.sleep(pause)
        seen = await look()
    return seen
