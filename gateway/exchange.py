"""One HTTP request as the rest of the gateway sees it, and the reading of its body within bounds."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from granian.rsgi import (  # type: ignore[attr-defined]
    HTTPProtocol,
    ProtocolClosed,
    ProtocolError,
    Scope,
)

from chassis.errors import FieldViolation, InvalidRequest
from chassis.identifiers import new_id
from gateway.answers import Headers
from gateway.problems import PayloadTooLarge

LONGEST_IDEMPOTENCY_KEY = 255

# What reading from or writing to a client raises that is no longer there.
CLIENT_GONE = (ProtocolClosed, ProtocolError)

_SANE_REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII).fullmatch
_PRINTABLE = re.compile(r"[\x20-\x7e]+", re.ASCII).fullmatch


@dataclass(slots=True)
class Exchange:
    """A request, and the headers that its answer gets whatever the answer is."""

    scope: Scope
    protocol: HTTPProtocol
    request_id: str
    headers: Headers = field(default_factory=list)

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

    def idempotency_key(self) -> str | None:
        """The Idempotency-Key; raises InvalidRequest for one that is no key."""
        key = self.header("idempotency-key")
        if key is None:
            return None
        if len(key) > LONGEST_IDEMPOTENCY_KEY or not _PRINTABLE(key):
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
        length = self.stated_length()
        if length == 0:
            return b""
        if length is not None and length <= limit:
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
        async for chunk in self.protocol:
            received += len(chunk)
            if received > limit:
                raise PayloadTooLarge(limit)
            yield chunk
