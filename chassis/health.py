"""The side port of a process, for those who run it: /metrics, /healthz and /readyz over HTTP/1.1.

It answers from the process' own event loop: when that is stuck, so is the answer, and the process is restarted.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Self

from chassis import metrics

_LONGEST_REQUEST = 8192  # bytes
_PATIENCE = 5.0  # seconds

# Names what is not ready yet; empty when all is.
Readiness = Callable[[], Awaitable[list[str]]]


class SidePort:
    """Answers on `listen` (host:port; port 0 takes a free one, told by `port`) from entering to leaving."""

    port: int

    def __init__(self, listen: str, unready: Readiness) -> None:
        host, _, port = listen.rpartition(":")
        self._host, self._wanted_port = host.strip("[]"), int(port)
        self._unready = unready

    async def __aenter__(self) -> Self:
        try:
            self._server = await asyncio.start_server(
                self._serve, self._host, self._wanted_port, limit=_LONGEST_REQUEST
            )
        except OSError as error:
            raise SystemExit(f"cannot listen on {self._host}:{self._wanted_port}: {error.strerror}") from None
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_PATIENCE):
                request = await reader.readuntil(b"\r\n\r\n")
                writer.write(await self._answer(request))
                await writer.drain()
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            pass  # nobody who speaks HTTP is left to be answered
        finally:
            writer.close()

    async def _answer(self, request: bytes) -> bytes:
        verb, _, rest = request.partition(b" ")
        path = rest.split(b" ", 1)[0].split(b"?", 1)[0]
        if verb != b"GET":
            return _response("405 Method Not Allowed", b"")
        if path == b"/healthz":
            return _response("200 OK", b"ok\n")
        if path == b"/readyz":
            unready = await self._unready()
            if unready:
                return _response("503 Service Unavailable", f"not ready: {', '.join(unready)}\n".encode())
            return _response("200 OK", b"ready\n")
        if path == b"/metrics":
            return _response("200 OK", metrics.exposition(), metrics.CONTENT_TYPE)
        return _response("404 Not Found", b"")


def _response(status: str, body: bytes, content_type: str = "text/plain; charset=utf-8") -> bytes:
    head = f"HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\ncontent-length: {len(body)}\r\nconnection: close"
    return head.encode() + b"\r\n\r\n" + body
