"""The HTTP/1.1 server: granian, on the event loop of the process."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Self

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server

from gateway.application import Application
from gateway.sockets import is_connected_at

_CONNECTIONS = 10_000
_LARGEST_HEAD = 64 * 1024  # bytes; a longer one is answered 431
_HEAD_MS = 10_000  # in which a request's head must have come
_NOTICE = 0.3  # seconds that load balancers get to notice that /readyz says no
_FAREWELL = 5.0  # seconds that clients get to make one more request, whose answer ends their connection
_LOOK_AGAIN = 0.1
_GRACE = 600.0  # seconds that requests under way get to end, the longest upload among them


class HttpServer:
    """Serves on `listen` (host:port) from entering to leaving; leaving it drains.

    A connection that is closed while a request comes on it loses that request, and its client cannot know whether it was carried out.
    So it is the client's to leave: each answer tells it to, and only those who say nothing meanwhile are hung up on.
    """

    def __init__(self, application: Application, listen: str, drain: Callable[[], None]) -> None:
        host, _, port = listen.rpartition(":")
        self._address = host.strip("[]"), int(port)
        self._application = application
        self._drain = drain
        self._leaving = False
        self._server = Server(
            application,
            address=self._address[0],
            port=self._address[1],
            interface=Interfaces.RSGI,
            http=HTTPModes.http1,
            http1_settings=HTTP1Settings(header_read_timeout=_HEAD_MS, max_buffer_size=_LARGEST_HEAD),
            websockets=False,
            backlog=1024,
            backpressure=_CONNECTIONS,
            log_enabled=False,
        )

    async def __aenter__(self) -> Self:
        self._try_to_listen()
        self._serving = asyncio.create_task(self._server.serve())
        # The socket is bound in the task's first step.
        await asyncio.sleep(0)
        return self

    def _try_to_listen(self) -> None:
        """Exit with what is wrong with the address; the server itself would only abort."""
        host, port = self._address
        try:
            family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            with socket.socket(family, kind) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
        except OSError as error:
            raise SystemExit(f"gateway cannot listen on {host}:{port}: {error.strerror}") from None

    async def __aexit__(self, *_: object) -> None:
        self._leaving = True
        self._drain()
        self._application.dismiss()
        await asyncio.sleep(_NOTICE)
        await self._deserted()
        self._server.stop()  # type: ignore[no-untyped-call]
        await asyncio.wait((self._serving,), timeout=_GRACE)

    async def _deserted(self) -> None:
        """Return when no client is connected, or when they have had the time to leave."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_FAREWELL):
                while is_connected_at(self._address[1]):  # noqa: ASYNC110 - it has no event of ours
                    await asyncio.sleep(_LOOK_AGAIN)

    async def run(self) -> None:
        """Watch the server while the process serves; raises when it ends by itself."""
        await asyncio.wait((self._serving,))
        if not self._leaving:
            raise RuntimeError("the HTTP server has stopped") from self._serving.exception()
