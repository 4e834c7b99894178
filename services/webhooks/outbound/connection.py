"""One connection of HTTP/1.1 (RFC 9112), kept alive between posts; one post at a time."""

import asyncio
from dataclasses import dataclass, field

from httptools import HttpParserError, HttpResponseParser

_KEPT_OF_A_BODY = 1_024
_MOST_READ = 64 * 1_024
_MOST_HEADERS = 100


class ConnectionBroken(Exception):
    """It closed, or what came over it was no answer."""


@dataclass(slots=True)
class Received:
    """What has come of an answer."""

    status: int = 0
    headers: dict[bytes, bytes] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)
    read: int = 0


class Connection(asyncio.Protocol):
    """Writes a request and tells what is answered. What comes unasked, or beyond 64 KiB, ends it."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[Received] | None = None
        self._received = Received()
        self._parser: HttpResponseParser | None = None
        loop = asyncio.get_running_loop()
        self.opened_at = loop.time()
        self.used_at = loop.time()
        self.address = ""
        self.is_open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The transport is there."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for the type alone
        self._transport = transport
        self.is_open = True

    def connection_lost(self, error: Exception | None) -> None:
        """Whoever waits hears of it, unless its answer ends where the connection does."""
        self.is_open = False
        if self._waiter is not None and self._ends_with_connection():
            self._finish()
        self._fail(ConnectionBroken("The connection was closed before the answer was there."))

    def data_received(self, data: bytes) -> None:
        """Read on."""
        if self._parser is None:
            return self.close()
        try:
            self._parser.feed_data(data)
        except HttpParserError:
            self._fail(ConnectionBroken("What was answered is not HTTP."))
            self.close()
        return None

    async def exchange(self, request: bytes) -> Received:
        """Send a request and wait for its answer. Raises ConnectionBroken. Whoever is cancelled closes the connection."""
        if self._transport is None or not self.is_open:
            raise ConnectionBroken("The connection was closed.")
        self._received = Received()
        self._parser = HttpResponseParser(self)
        self._waiter = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        try:
            return await self._waiter
        except asyncio.CancelledError:
            self.close()
            raise
        finally:
            self._waiter = self._parser = None

    def close(self) -> None:
        """Close it at once."""
        self.is_open = False
        if self._transport is not None:
            self._transport.abort()

    # What httptools calls while it reads.

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; of several of a name the last counts."""
        if len(self._received.headers) >= _MOST_HEADERS:
            self._fail(ConnectionBroken("The answer has too many headers."))
            self.close()
        self._received.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        """What came so far counts, whatever becomes of the body."""
        if self._parser is not None:
            self._received.status = self._parser.get_status_code()

    def on_body(self, part: bytes) -> None:
        """Its beginning is kept; one that does not end is cut off, and its status counts."""
        received = self._received
        received.read += len(part)
        if len(received.body) < _KEPT_OF_A_BODY:
            received.body += part[: _KEPT_OF_A_BODY - len(received.body)]
        if received.read > _MOST_READ:
            self._finish()
            self.close()

    def on_message_complete(self) -> None:
        """The answer is there; one that only informs (1xx) is followed by it."""
        if 100 <= self._received.status < 200:
            self._received = Received()
            return
        if self._parser is None or not self._parser.should_keep_alive():
            self.is_open = False
        self._finish()

    def _ends_with_connection(self) -> bool:
        headers = self._received.headers
        framed = b"content-length" in headers or b"transfer-encoding" in headers
        return self._received.status >= 200 and not framed

    def _finish(self) -> None:
        self.used_at = asyncio.get_running_loop().time()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(self._received)

    def _fail(self, error: Exception) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)
