"""The server: questions by UDP, publications by HTTP."""

import asyncio
import json
from typing import Any, Self

from dns.exception import DNSException

from deploy.local.nameserver.zone import Zone

_LARGEST_PUBLICATION = 65_536


class Nameserver(asyncio.DatagramProtocol):
    """Answers what is published in its zone, from entering to leaving."""

    def __init__(self, host: str, port: int) -> None:
        self.zone = Zone()
        # Whether it says anything at all: resolvers have to live with servers that do not.
        self.silent = False
        self._address = (host, port)
        self._transport: Any = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        await loop.create_datagram_endpoint(lambda: self, local_addr=self._address)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._transport.close()

    @property
    def address(self) -> str:
        """Where it answers, as host:port."""
        host, port = self._transport.get_extra_info("sockname")[:2]
        return f"{host}:{port}"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the socket."""
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        """Answer a question; what is none is left alone."""
        if self.silent:
            return
        try:
            self._transport.sendto(self.zone.answer(data), addr)
        except DNSException:
            return


class Publications:
    """`POST /records` {name, type, values} publishes in a zone; `GET /readyz` answers 200."""

    def __init__(self, zone: Zone) -> None:
        self._zone = zone

    async def serve(self, host: str, port: int) -> asyncio.Server:
        """Begin to answer."""
        return await asyncio.start_server(self._talk, host, port)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(await self._answer(reader))
            await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            return
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader) -> bytes:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        fields = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])
        }
        if head[0].startswith("GET /readyz "):
            return _response("200 OK")
        if not head[0].startswith("POST /records "):
            return _response("404 Not Found")
        length = min(int(fields.get("content-length", "0")), _LARGEST_PUBLICATION)
        try:
            record = json.loads(await reader.readexactly(length))
            self._zone.publish(record["name"], record["type"], record["values"])
        except (ValueError, KeyError, TypeError, DNSException) as error:
            return _response("422 Unprocessable Content", f"{type(error).__name__}: {error}")
        return _response("204 No Content")


def _response(status: str, text: str = "") -> bytes:
    body = text.encode()
    length = f"Content-Length: {len(body)}\r\n" if not status.startswith("204") else ""
    return (
        f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\n{length}Connection: close\r\n\r\n".encode() + body
    )
