"""A load generator: keep-alive HTTP/1.1 connections that each send the next request when its answer is in.

Run in a process of its own: `python -m bench.gateway.load PORT PATH CONNECTIONS SECONDS [HEADER…]`
prints one line of JSON with the requests served, the seconds they took, and any answer other than a 200.
"""

import asyncio
import json
import sys
import time
from typing import cast

import uvloop

_HEAD_END = b"\r\n\r\n"


class Connection(asyncio.Protocol):
    """One connection that repeats one request and counts its answers."""

    def __init__(self, request: bytes, ended: asyncio.Event) -> None:
        self._request = request
        self._ended = ended
        self._buffer = b""
        self._transport: asyncio.Transport
        self.served = 0
        self.refused = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Count an answer once it is whole, and send the next request."""
        self._buffer += data
        head_length = self._buffer.find(_HEAD_END)
        if head_length < 0:
            return
        head = self._buffer[:head_length].lower()
        start = head.index(b"content-length:") + 15
        body_length = int(head[start : start + 20].split(b"\r\n", 1)[0])
        if len(self._buffer) < head_length + 4 + body_length:
            return
        if not head.startswith(b"http/1.1 200"):
            self.refused = self._buffer
            self._ended.set()
            return
        self.served += 1
        self._buffer = b""
        if not self._ended.is_set():
            self._transport.write(self._request)

    def connection_lost(self, exception: Exception | None) -> None:
        """A server that hangs up ends the run."""
        self._ended.set()


async def generate(port: int, request: bytes, connections: int, seconds: float) -> dict[str, object]:
    """Load 127.0.0.1:`port` for so many seconds and say how it went."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    opened = await asyncio.gather(
        *(
            loop.create_connection(lambda: Connection(request, ended), "127.0.0.1", port)
            for _ in range(connections)
        )
    )
    protocols = [protocol for _, protocol in opened]
    before = sum(protocol.served for protocol in protocols)
    started = time.perf_counter()
    loop.call_later(seconds, ended.set)
    await ended.wait()
    elapsed = time.perf_counter() - started
    served = sum(protocol.served for protocol in protocols) - before
    refused = next((protocol.refused for protocol in protocols if protocol.refused), b"")
    return {"served": served, "seconds": elapsed, "refused": refused.decode(errors="replace")}


def main() -> None:
    """Read the arguments, load the server, print the figures."""
    port, path, connections, seconds, *headers = sys.argv[1:]
    lines = [f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", *headers, "", ""]
    request = "\r\n".join(lines).encode()
    print(json.dumps(uvloop.run(generate(int(port), request, int(connections), float(seconds)))))


if __name__ == "__main__":
    main()
