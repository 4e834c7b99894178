"""What a receiver answers, as far as it is read (RFC 9112)."""

from typing import NamedTuple

import httptools

from services.webhooks.outbound.answers import retry_after

# As much of a body is kept, to show whoever set the endpoint up.
_SHOWN_BYTES = 1_024
# As much of an answer is read, its head included; whoever says more is not listened to any more.
_READ_BYTES = 64 * 1024


class Broken(Exception):
    """The other side does not speak HTTP/1.1, or stopped in the middle."""


class Response(NamedTuple):
    """`retry_after` in seconds; `body` is its beginning; `reusable` tells whether the connection may carry another request."""

    status: int
    retry_after: float | None
    body: bytes
    reusable: bool


class Responses:
    """Reads the responses of one connection, one after the other; `begin` before each."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self.begin()

    def begin(self) -> None:
        """Forget the response before."""
        self._read = 0
        self._status = 0
        self._retry_after = ""
        self._body = b""
        self._framed = self._reusable = self._complete = self._more = False

    def feed(self, data: bytes) -> Response | None:
        """Read on; the response when it is there, or was cut since it is too long. Raises Broken."""
        self._read += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            raise Broken("It changed to another protocol.") from None
        except httptools.HttpParserError:
            # What comes after a whole response does not change it.
            if not self._complete:
                raise Broken("What was answered is not HTTP.") from None
            self._more = True
        if self._complete:
            return self._response(reusable=self._reusable and not self._more)
        if self._read < _READ_BYTES:
            return None
        if not self._status:
            raise Broken("The head of its answer has no end.")
        return self._response(reusable=False)

    def end(self) -> Response:
        """The connection is closed, with which some responses end (RFC 9112 §6.3). Raises Broken when this one does not."""
        if self._status and not self._framed:
            return self._response(reusable=False)
        raise Broken("The connection was closed before the answer was there.")

    def on_message_begin(self) -> None:
        """Called by the parser."""
        self._more = self._complete

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser for each header, those of interim responses too."""
        if self._complete:
            return
        match name.lower():
            case b"content-length" | b"transfer-encoding":
                self._framed = True
            case b"retry-after":
                self._retry_after = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """Called by the parser."""
        if self._complete:
            return
        status = self._parser.get_status_code()
        # 100 and 103 announce the answer (RFC 9110 §15.2).
        if status >= 200:
            self._status = status
            self._reusable = self._parser.should_keep_alive()

    def on_body(self, body: bytes) -> None:
        """Called by the parser."""
        if not self._complete:
            self._body += body[: _SHOWN_BYTES - len(self._body)]

    def on_message_complete(self) -> None:
        """Called by the parser."""
        self._complete = bool(self._status)

    def _response(self, *, reusable: bool) -> Response:
        return Response(self._status, retry_after(self._retry_after), self._body, reusable)
