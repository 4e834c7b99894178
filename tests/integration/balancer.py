"""A balancer of connections: it knows where a new one may go, passes bytes on both ways, and looks into none of them."""

import asyncio
from contextlib import suppress
from itertools import count
from typing import Self

from deploy.local.servers.program import HOST

_PIECE = 65_536


class Balancer:
    """Passes what comes to `port` on to `endpoints` in turn, from entering to leaving. A connection stays where it went."""

    port: int

    def __init__(self) -> None:
        self.endpoints: list[tuple[str, int]] = []
        self._turns = count()
        self._connections: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, HOST, 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.create_task(self._pass_on(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        endpoint = self.endpoints[next(self._turns) % len(self.endpoints)]
        with suppress(ConnectionError):
            there, back = await asyncio.open_connection(*endpoint)
            await asyncio.gather(_pipe(reader, back), _pipe(there, writer))
        writer.close()


async def _pipe(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Pass bytes on until there are no more; then say so."""
    try:
        while piece := await source.read(_PIECE):
            sink.write(piece)
            await sink.drain()
    finally:
        sink.close()
