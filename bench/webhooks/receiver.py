"""A receiver of posts that only counts: kept connections, 200, the moment of each arrival."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from httptools import HttpRequestParser

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Receiver:
    """What has come, and when by the clock of `time.monotonic`."""

    def __init__(self) -> None:
        self.arrivals: list[float] = []
        self.url = ""
        self._came = asyncio.Event()

    def took(self) -> None:
        """Note one that has come."""
        self.arrivals.append(time.monotonic())
        self._came.set()

    async def arrival(self, number: int) -> float:
        """The moment of this one, once it has come."""
        while len(self.arrivals) <= number:
            self._came.clear()
            await self._came.wait()
        return self.arrivals[number]


class _Connection(asyncio.Protocol):
    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._parser = HttpRequestParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        self._receiver.took()
        self._transport.write(_ANSWER)  # type: ignore[attr-defined]  # the stubs know no transport of uvloop's


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """A receiver on loopback."""
    receiver = Receiver()
    server = await asyncio.get_running_loop().create_server(lambda: _Connection(receiver), "127.0.0.1", 0)
    receiver.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hooks"
    async with server:
        yield receiver
