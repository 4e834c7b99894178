"""Serves an application on a real socket of this machine, in the loop of the test."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from starlette.types import ASGIApp


class _Server(uvicorn.Server):
    """Ends when it is told to: the one of uvicorn looks ten times a second whether it is, and then waits for a tenth more."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(uvicorn.Config(app, log_config=None, lifespan="off", ws="none"))
        self._over = asyncio.Event()

    def end(self) -> None:
        self._over.set()

    async def main_loop(self) -> None:
        await self.on_tick(0)
        await self._over.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Nobody is waited for: whoever is still answered is cut off, as are those who keep a connection."""
        for server in self.servers:
            server.close()
        for task in self.server_state.tasks:
            task.cancel()
        await asyncio.gather(*self.server_state.tasks, return_exceptions=True)
        for connection in self.server_state.connections:
            connection.transport.close()


@asynccontextmanager
async def serving(app: ASGIApp) -> AsyncIterator[str]:
    """Its address, as long as it is there."""
    listener = socket.create_server(("127.0.0.1", 0))
    # Heads and bodies of answers are written one after the other: with Nagle's algorithm each answer takes 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    server = _Server(app)
    # Signals are the tests' own.
    serve = asyncio.create_task(server._serve([listener]))
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.end()
        await serve
        listener.close()
