"""One call for all who ask the same thing at the same time."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Key = TypeVar("Key")
Result = TypeVar("Result")


class SharedCalls(Generic[Key, Result]):
    """Lets concurrent askers share a call, and never one that had begun before they asked.

    Whoever asks while a call is under way waits for the next: the answer to a question that was put before a
    revocation must not reach a request that came after it.
    """

    def __init__(self) -> None:
        self._running: dict[Key, asyncio.Task[Result]] = {}
        self._next: dict[Key, asyncio.Task[Result]] = {}

    async def share(self, key: Key, call: Callable[[], Awaitable[Result]]) -> Result:
        """The result of a call that begins after now; raises what the call raises."""
        following = self._next.get(key)
        if following is None:
            following = asyncio.create_task(self._begin(key, call))
            self._next[key] = following
        # Whoever gives up waiting does not take the call from the others.
        return await asyncio.shield(following)

    async def _begin(self, key: Key, call: Callable[[], Awaitable[Result]]) -> Result:
        previous = self._running.get(key)
        if previous is not None:
            await asyncio.wait((previous,))
        self._running[key] = self._next.pop(key)
        try:
            return await call()
        finally:
            del self._running[key]
