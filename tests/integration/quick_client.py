"""A client for a great many small requests: HTTP/1.1 over connections that stay open, and nothing else.

Own code, on the parser that delivery of webhooks has: of what a library's client takes for a request most is its own, and this one asks for
every cell of the access matrix.
"""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import urlencode, urlsplit

from httptools import HttpResponseParser

from tests.integration.operations import Part, Request

_BOUNDARY = "a-part-of-a-form"
_PATIENCE_SECONDS = 30.0


@dataclass(slots=True)
class Answer:
    """An answer, as it comes."""

    status: int = 0
    content_type: str = ""
    body: bytearray = field(default_factory=bytearray)
    is_whole: bool = False
    # Whether another may be asked for on its connection.
    keeps_connection: bool = False
    parser: HttpResponseParser = field(init=False)

    def __post_init__(self) -> None:
        self.parser = HttpResponseParser(self)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header is there."""
        if name.lower() == b"content-type":
            self.content_type = value.decode("latin-1")

    def on_body(self, piece: bytes) -> None:
        """A piece of the body is there."""
        self.body += piece

    def on_message_complete(self) -> None:
        """All of it is there."""
        self.status, self.keeps_connection = self.parser.get_status_code(), self.parser.should_keep_alive()
        self.is_whole = True


@dataclass(slots=True)
class _Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def ask(self, sent: bytes) -> Answer:
        answer = Answer()
        self.writer.write(sent)
        while not answer.is_whole:
            if not (data := await self.reader.read(65_536)):
                raise ConnectionError("the answer ends in its midst")
            answer.parser.feed_data(data)
        return answer


class QuickClient:
    """Asks whoever serves at this URL, on as many connections as there are requests at a time."""

    def __init__(self, url: str) -> None:
        self._host = urlsplit(url).netloc
        self._idle: list[_Connection] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for connection in self._idle:
            connection.writer.close()

    async def ask(self, asked: Request) -> Answer:
        """The answer to a request. Raises ConnectionError, and TimeoutError after half a minute."""
        async with asyncio.timeout(_PATIENCE_SECONDS):
            connection = self._idle.pop() if self._idle else await self._opened()
            is_good = False
            try:
                answer = await connection.ask(_written(asked, self._host))
                is_good = answer.keeps_connection
                return answer
            finally:
                if is_good:
                    self._idle.append(connection)
                else:
                    connection.writer.close()

    async def _opened(self) -> _Connection:
        host, _, port = self._host.rpartition(":")
        return _Connection(*await asyncio.open_connection(host, int(port)))


def _written(asked: Request, host: str) -> bytes:
    query = f"?{urlencode(asked.query)}" if asked.query else ""
    kind, body = _content(asked)
    headers = {"host": host, **asked.headers, "content-length": str(len(body))}
    headers |= {"content-type": kind} if kind else {}
    lines = (
        f"{asked.verb} {asked.path}{query} HTTP/1.1",
        *(f"{name}: {value}" for name, value in headers.items()),
    )
    return "\r\n".join((*lines, "", "")).encode() + body


def _content(asked: Request) -> tuple[str, bytes]:
    """The type of the body, if there is one, and the body."""
    if asked.parts:
        form = "".join(map(_part, asked.parts)) + f"--{_BOUNDARY}--\r\n"
        return f"multipart/form-data; boundary={_BOUNDARY}", form.encode()
    if asked.body is not None:
        return "application/json", json.dumps(asked.body).encode()
    return "", b""


def _part(part: Part) -> str:
    name, (file, content, kind) = part
    named = f'; filename="{file}"' if file else ""
    return (
        f'--{_BOUNDARY}\r\ncontent-disposition: form-data; name="{name}"{named}\r\ncontent-type: {kind}\r\n\r\n'
        f"{content}\r\n"
    )
