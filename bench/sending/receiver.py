"""A relay that takes everything, says nothing of itself, and notes whose message it got when.

`python -m bench.sending.receiver PORT [FILE]` adds a line to the file for each message once its last byte is there: the recipient
and the time, in seconds since 1970. It reads no more of a message than its end, so that it is not what is full.
"""

import asyncio
import sys
import time
from typing import cast

import uvloop

_EXTENSIONS = b"250-receiver\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 SIZE 50000000\r\n"
_END = b"\r\n.\r\n"
_FLUSH_SECONDS = 0.1


class Receiver(asyncio.Protocol):
    """One connection."""

    def __init__(self, noted: list[tuple[bytes, float]]) -> None:
        self._noted = noted
        self._rest = b""
        self._in_body = False
        self._recipient = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(b"220 receiver ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        """Answer all that is complete."""
        data, at, replies = self._rest + data, 0, []
        while True:
            mark = _END if self._in_body else b"\r\n"
            end = data.find(mark, at)
            if end < 0:
                break
            replies.append(self._message_ended() if self._in_body else self._answer(data[at:end]))
            at = end + len(mark)
        # Of a body no more is kept than may be the beginning of its end.
        self._rest = data[max(at, len(data) - len(_END) + 1) :] if self._in_body else data[at:]
        if replies:
            self._transport.write(b"".join(replies))

    def _message_ended(self) -> bytes:
        self._in_body = False
        self._noted.append((self._recipient, time.time()))
        return b"250 2.0.0 Taken\r\n"

    def _answer(self, line: bytes) -> bytes:
        match line[:4].upper():
            case b"EHLO":
                return _EXTENSIONS
            case b"RCPT":
                self._recipient = line[line.find(b"<") + 1 : line.rfind(b">")]
            case b"DATA":
                self._in_body = True
                return b"354 Go on\r\n"
            case b"QUIT":
                return b"221 2.0.0 Bye\r\n"
        return b"250 2.0.0 Good\r\n"


async def receive(port: int, file: str | None) -> None:
    """Take mail until the process is ended."""
    noted: list[tuple[bytes, float]] = []
    await asyncio.get_running_loop().create_server(lambda: Receiver(noted), "127.0.0.1", port)
    while True:
        await asyncio.sleep(_FLUSH_SECONDS)
        lines = b"".join(b"%s %.6f\n" % note for note in noted)
        noted.clear()
        if file is not None and lines:
            with open(file, "ab") as notes:  # noqa: ASYNC230 - a write into the page cache
                notes.write(lines)


if __name__ == "__main__":
    uvloop.run(receive(int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None))
