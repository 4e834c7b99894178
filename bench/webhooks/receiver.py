"""A receiver of posts that only notes them: kept connections, 200, and for each when it came and how long it was under way."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from httptools import HttpRequestParser

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
# An event's number begins with the millisecond in which its fact was made.
_SEQUENCE = re.compile(rb'"sequence":(\d+)')
_NUMBERS_A_MILLISECOND = 1024


class Receiver:
    """What has come, and when by the clock of `time.monotonic`; `hangs` says of a path whether it is never answered."""

    def __init__(self) -> None:
        self.arrivals: list[float] = []
        # Seconds from the fact to its arrival, by path.
        self.delays: list[tuple[bytes, float]] = []
        self.hangs: Callable[[bytes], bool] = lambda path: False
        self.origin = ""
        self._came = asyncio.Event()

    @property
    def url(self) -> str:
        """Where any endpoint may be."""
        return f"{self.origin}/hooks"

    def took(self, path: bytes, body: bytes) -> None:
        """Note one that has come."""
        self.arrivals.append(time.monotonic())
        if made := _SEQUENCE.search(body):
            self.delays.append((path, time.time() - int(made[1]) / _NUMBERS_A_MILLISECOND / 1_000))
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
        self._path, self._body = b"", b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._path, self._body = b"", b""

    def on_url(self, url: bytes) -> None:
        self._path += url

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        if self._receiver.hangs(self._path):
            return
        self._receiver.took(self._path, self._body)
        self._transport.write(_ANSWER)  # type: ignore[attr-defined]  # the stubs know no transport of uvloop's


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """A receiver on loopback."""
    receiver = Receiver()
    server = await asyncio.get_running_loop().create_server(
        lambda: _Connection(receiver), "127.0.0.1", 0, backlog=2_048
    )
    receiver.origin = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield receiver
