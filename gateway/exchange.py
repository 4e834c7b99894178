"""One HTTP request as the rest of the gateway sees it, and the reading of its body within bounds."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv6Address, ip_address

from granian.rsgi import (  # type: ignore[attr-defined]
    HTTPProtocol,
    ProtocolClosed,
    ProtocolError,
    Scope,
)

from chassis.errors import FieldViolation, InvalidRequest
from chassis.identifiers import new_id
from gateway.answers import Headers
from gateway.problems import HttpRefusal, PayloadTooLarge

LONGEST_IDEMPOTENCY_KEY = 255
LONGEST_USER_AGENT = 200  # characters

# What reading from or writing to a client raises that is no longer there.
CLIENT_GONE = (ProtocolClosed, ProtocolError)

_DISCARD_SECONDS = 10.0
_BODY_SECONDS = 30.0  # in which a body that is not an upload must have come
_DISCARD_PAUSE = 0.25  # seconds without a byte, after which a client waits for an answer

_SANE_REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII).fullmatch
_PRINTABLE = re.compile(r"[\x20-\x7e]+", re.ASCII).fullmatch


@dataclass(slots=True)
class Exchange:
    """A request, and the headers that its answer gets whatever the answer is."""

    scope: Scope
    protocol: HTTPProtocol
    request_id: str
    headers: Headers = field(default_factory=list)
    _body: AsyncIterator[bytes] | None = None
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    _all_read: bool = False

    @classmethod
    def begin(cls, scope: Scope, protocol: HTTPProtocol) -> "Exchange":
        """Take the client's request id if it is a sane one, else make one."""
        request_id = scope.headers.get("x-request-id")
        if request_id is None or not _SANE_REQUEST_ID(request_id):
            request_id = str(new_id())
        return cls(scope, protocol, request_id, [("x-request-id", request_id)])

    def header(self, name: str) -> str | None:
        """A request header, by its lower-case name."""
        value: str | None = self.scope.headers.get(name)
        return value

    def client_address(self, proxies: int) -> str:
        """The client's IP address; "" when it cannot be told.

        Each of `proxies` proxies of ours in front adds to X-Forwarded-For the address it was called from. What stands
        before those entries is what the client says of itself, and is not believed. With fewer entries somebody came past
        the proxies, and the address is that of the socket.
        """
        address = str(self.scope.client).rpartition(":")[0].strip("[]")
        if proxies:
            # A proxy may add a line of its own after the client's.
            lines = self.scope.headers.get_all("x-forwarded-for")  # type: ignore[attr-defined]  # the stub lacks it
            told = [entry.strip() for line in lines for entry in line.split(",")]
            address = told[-proxies] if len(told) >= proxies else address
        return _ip_address(address)

    def user_agent(self) -> str:
        """What the client calls itself, cut to a length that can be shown."""
        return (self.header("user-agent") or "")[:LONGEST_USER_AGENT]

    def idempotency_key(self) -> str | None:
        """The Idempotency-Key; raises InvalidRequest for one that is no key."""
        if "idempotency-key" not in self.scope.headers:
            return None
        key = self.header("idempotency-key")  # None when it is not ASCII
        if key is None or len(key) > LONGEST_IDEMPOTENCY_KEY or not _PRINTABLE(key):
            problem = f"must be 1 to {LONGEST_IDEMPOTENCY_KEY} printable ASCII characters"
            raise InvalidRequest(FieldViolation("Idempotency-Key", problem))
        return key

    def stated_length(self) -> int | None:
        """What Content-Length says; None when the body is chunked, 0 when there is none."""
        length = self.header("content-length")
        if length is not None:
            return int(length)
        return None if self.header("transfer-encoding") is not None else 0

    async def body(self, limit: int) -> bytes:
        """The whole body; raises PayloadTooLarge before more than `limit` bytes are held."""
        if self.stated_length() == 0:
            return b""
        # Not cancelled when it takes too long: the HTTP server does not survive that.
        reading = asyncio.create_task(self._whole_body(limit))
        reading.add_done_callback(_retrieve)
        done, _ = await asyncio.wait((reading,), timeout=_BODY_SECONDS)
        if not done:
            self._all_read = True
            raise HttpRefusal(
                408, "REQUEST_TIMEOUT", f"The body did not come within {_BODY_SECONDS:.0f} seconds."
            )
        return reading.result()

    async def _whole_body(self, limit: int) -> bytes:
        if (self.stated_length() or limit + 1) <= limit:
            self._all_read = True
            return await self.protocol()
        received = bytearray()
        async for chunk in self.chunks(limit):
            received += chunk
        return bytes(received)

    async def chunks(self, limit: int) -> AsyncIterator[bytes]:
        """The body as it arrives; raises PayloadTooLarge at the first byte over `limit`, or before any."""
        if (self.stated_length() or 0) > limit:
            raise PayloadTooLarge(limit)
        received = 0
        while chunk := await self._next_chunk():
            received += len(chunk)
            if received > limit:
                raise PayloadTooLarge(limit)
            yield chunk

    async def discard_rest(self) -> None:
        """Take what a client goes on sending, for a while, and forget it.

        Whoever is cut off while sending sees a broken connection and never the answer that tells why.
        """
        if self._all_read or self.stated_length() == 0 or self.header("expect") is not None:
            return
        until = time.monotonic() + _DISCARD_SECONDS
        while time.monotonic() < until:
            # Not cancelled either.
            reading = asyncio.create_task(self._next_chunk())
            reading.add_done_callback(_retrieve)
            done, _ = await asyncio.wait((reading,), timeout=_DISCARD_PAUSE)
            if not done or reading.exception() is not None or not reading.result():
                return  # it waits for us, or has left, or has sent all

    async def _next_chunk(self) -> bytes:
        """The next piece of the body, empty at its end. An upload's call may still be reading when it is refused."""
        async with self._turn:
            if self._all_read:
                return b""
            if self._body is None:
                self._body = aiter(self.protocol)
            chunk = await anext(self._body, b"")
            self._all_read = not chunk
            return chunk


def _retrieve(reading: asyncio.Task[bytes]) -> None:
    """What a client that has left did to a read that nobody waits for is of no interest."""
    if not reading.cancelled():
        reading.exception()


@lru_cache(maxsize=10_000)
def _ip_address(text: str) -> str:
    try:
        address = ip_address(text)
    except ValueError:
        return ""
    # The same client over a socket that speaks both versions.
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)
