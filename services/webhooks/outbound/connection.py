"""One connection of HTTP/1.1 (RFC 9112), kept alive between posts; one post at a time."""

import asyncio
from time import monotonic
from typing import cast

from services.webhooks.outbound.responses import Broken, Response, Responses


class Connection(asyncio.Protocol):
    """Writes a request and tells what is answered. What comes unasked ends it."""

    def __init__(self, address: str) -> None:
        self.address = address
        # Asked for once: each time it is asked for, Python 3.11 asks the system which process this is.
        self._loop = asyncio.get_running_loop()
        self.is_open = True
        self.opened_at = self.used_at = monotonic()
        self._transport: asyncio.Transport
        self._responses = Responses()
        self._waiter: asyncio.Future[Response] | None = None

    async def exchange(self, request: bytes, deadline: float) -> Response:
        """Send a request and wait for its answer, until that moment of the loop's clock. Raises Broken, and TimeoutError. Whoever stops waiting closes the connection."""
        self._responses.begin()
        self._waiter = self._loop.create_future()
        late = self._loop.call_at(deadline, self._too_late)
        try:
            self._transport.write(request)
            response = await self._waiter
        except BaseException:
            self.close()
            raise
        finally:
            late.cancel()
            self._waiter = None
        if not response.reusable:
            self.close()
        self.used_at = monotonic()
        return response

    def close(self) -> None:
        """Close it at once: nothing that is still to be said matters."""
        self.is_open = False
        self._transport.abort()

    def _too_late(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(TimeoutError())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The transport is there."""
        # uvloop's transports are none of asyncio's by class.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Read on; what nobody asked for would be taken for the answer to the next post."""
        if self._waiter is None or self._waiter.done():
            self.close()
            return
        try:
            response = self._responses.feed(data)
        except Broken as error:
            self._waiter.set_exception(error)
            return
        if response is not None:
            self._waiter.set_result(response)

    def eof_received(self) -> None:
        """The other side has said all; the transport closes."""
        self.is_open = False

    def connection_lost(self, error: Exception | None) -> None:
        """Whoever waits hears of it, unless its answer ends where the connection does."""
        self.is_open = False
        if self._waiter is None or self._waiter.done():
            return
        try:
            self._waiter.set_result(self._responses.end())
        except Broken as broken:
            self._waiter.set_exception(broken)
