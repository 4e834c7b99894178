"""Work that is done after an answer, so that the answer's time tells nothing of it."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Self

from chassis.logs import logger

# Seconds in which a process that ends finishes what it has begun.
_FINISH_WITHIN = 5.0


class Afterwards:
    """Does such work, and logs what fails of it: nobody waits to be told. An async context manager: leaving it finishes."""

    def __init__(self) -> None:
        self._under_way: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=_FINISH_WITHIN)

    def do(self, work: Coroutine[Any, Any, None]) -> None:
        """Begin the work, and go on without waiting for it."""
        task = asyncio.create_task(_done(work))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)


async def _done(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except Exception:
        logger().exception("left_undone")
