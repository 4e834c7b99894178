"""Whether anybody serves at the other end of a channel; calls wait a moment for whoever takes the place of one that has left."""

import asyncio
from contextlib import suppress
from time import monotonic
from typing import Self

import grpc
import grpc.aio

# Seconds. Longer than it takes to look up and reach a process that is there already, shorter than a client waits.
_PATIENCE = 2.0


class Presence:
    """Watches a channel from entering to leaving."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel
        self._here = asyncio.Event()
        # Since when nobody is there who is asked for: who has yet to start is no more to be given up than who has just left.
        self._gone_since: float | None = None

    async def __aenter__(self) -> Self:
        self._watch = asyncio.create_task(self._watch_forever())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._watch.cancel()
        await asyncio.gather(self._watch, return_exceptions=True)

    async def expected(self, at_most: float) -> bool:
        """Whether somebody serves, or will soon: answers True at once, or when it is so; False when it is not so in time.

        It waits `at_most` so many seconds, and not at all when nobody has been there for longer than a replacement takes: since who
        served has left, or since somebody was first asked for.
        """
        if not self._here.is_set():
            if self._gone_since is None:
                self._gone_since = monotonic()
            left = min(self._gone_since + _PATIENCE - monotonic(), at_most)
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._here.wait()
        return self._here.is_set()

    async def _watch_forever(self) -> None:
        while True:
            state = self._channel.get_state(try_to_connect=True)
            if state is grpc.ChannelConnectivity.READY:
                self._here.set()
            elif self._here.is_set():
                self._here.clear()
                self._gone_since = monotonic()
            # A channel that is closed since its certificate was renewed has no more states; another has taken its place.
            with suppress(AssertionError, grpc.aio.UsageError):
                await self._channel.wait_for_state_change(state)
