"""What takes a while and gives everybody the same is done once, for all who ask for it meanwhile."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Opened = TypeVar("Opened")


class SharedOpenings(Generic[Key, Opened]):
    """Those under way, by what is opened. Who asks shares the answer, and the failure; nothing is remembered afterwards."""

    def __init__(self) -> None:
        self._under_way: dict[Key, asyncio.Future[Opened]] = {}

    async def opened(self, key: Key, begin: Callable[[], Coroutine[Any, Any, Opened]]) -> Opened:
        """What is opened as this key, by the opening that is under way or by one that begins."""
        opening = self._under_way.get(key)
        if opening is None:
            opening = self._under_way[key] = asyncio.ensure_future(begin())
            opening.add_done_callback(lambda _: self._under_way.pop(key, None))
        # One who leaves takes nothing from the others.
        return await asyncio.shield(opening)
