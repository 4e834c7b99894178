"""Clients of the one-off API, in a process of their own: keep-alive connections that each post the next messages when its answer is in.

`python -m bench.sending.posting LOAD`, with a `Load` as JSON, prints one line of JSON: the requests that were answered with 202, the
seconds they took, and any other answer.
"""

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path
from typing import cast

import orjson
import uvloop

_HEAD_END = b"\r\n\r\n"
_TEXT = (
    "Dear reader,\n\nyour order has left our house this morning and will be with you tomorrow, before noon if the roads are free. "
    "What is in it is written on the note beside it, and what it cost on the second page. Whoever is not at home finds it at the "
    "neighbour's.\n\nYours, the shop\n"
)
_HTML = "".join(f"<p>{paragraph}</p>" for paragraph in _TEXT.split("\n\n"))


@dataclass(frozen=True, slots=True)
class Load:
    """What to post: receipts of half a KB, each to somebody else, `size` in a request; for so long, or so many."""

    port: int
    key: str
    # Before the number in each recipient's address.
    prefix: str
    size: int
    connections: int
    seconds: float
    # Requests a second that are begun, whatever becomes of them; as many as are answered where it is 0.
    pace: float = 0.0
    # Where a line is written for each message of its own request: the recipient, and when its 202 was there.
    notes: str = ""

    def argument(self) -> str:
        """For the command line."""
        return json.dumps(asdict(self))

    def requests(self) -> Iterator[tuple[bytes, bytes]]:
        """One after another: the first of its recipients, and the request."""
        path = "/v1/messages" if self.size == 1 else "/v1/messages/batch"
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nAuthorization: Bearer {self.key}\r\n"
        head += "Content-Type: application/json\r\n"
        for number in count(step=self.size):
            messages = [self._message(number + offset) for offset in range(self.size)]
            body = orjson.dumps(messages[0] if self.size == 1 else {"messages": messages})
            yield messages[0]["to"].encode(), f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body

    def _message(self, number: int) -> dict[str, str]:
        return {
            "to": f"{self.prefix}{number}@example.com",
            "from_email": "shop@plain.test",
            "subject": f"Your order {number}",
            "html": _HTML,
            "text": _TEXT,
        }


@dataclass(slots=True)
class Posting:
    """What became of requests: of each that was answered as it should be its name, and when it was due and answered, in seconds since 1970."""

    answers: list[tuple[bytes, float, float]] = field(default_factory=list)
    # What else was answered to one of them.
    refused: bytes = b""


class Client(asyncio.Protocol):
    """One connection, which is `free` between its requests."""

    def __init__(self, status: int, free: asyncio.Queue["Client"]) -> None:
        self._status = b"http/1.1 %d" % status
        self._free = free
        self._buffer = b""
        self._transport: asyncio.Transport
        self.name = b""
        self.due = self.answered = 0.0
        self.refused = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be free."""
        self._transport = cast("asyncio.Transport", transport)
        self._free.put_nowait(self)

    def post(self, name: bytes, request: bytes, due: float) -> None:
        """Send a request."""
        self.name, self.due = name, due
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Take an answer; once it is whole be free again."""
        self._buffer += data
        head_length = self._buffer.find(_HEAD_END)
        if head_length < 0:
            return
        head = self._buffer[:head_length].lower()
        start = head.index(b"content-length:") + 15
        body_length = int(head[start : start + 20].split(b"\r\n", 1)[0])
        if len(self._buffer) < head_length + len(_HEAD_END) + body_length:
            return
        if not head.startswith(self._status):
            self.refused = self._buffer
        self._buffer = b""
        self.answered = time.time()
        self._free.put_nowait(self)

    def connection_lost(self, _: Exception | None) -> None:
        """A server that hangs up has refused."""
        self.refused = self.refused or b"the gateway hung up"
        self._free.put_nowait(self)


async def post(
    requests: Iterator[tuple[bytes, bytes]],
    *,
    port: int,
    status: int,
    connections: int,
    seconds: float,
    pace: float,
) -> Posting:
    """Post requests, each with its name, for so long, or until there are no more; each is to be answered with the status.

    `pace` is how many a second are due, whatever becomes of them; where it is 0, one is as soon as a connection is free.
    """
    free: asyncio.Queue[Client] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    for _ in range(connections):
        await loop.create_connection(lambda: Client(status, free), "127.0.0.1", port)
    posting = Posting()
    began = time.time()
    begun = 0
    while not posting.refused:
        client = await free.get()
        if client.name:
            posting.answers.append((client.name, client.due, client.answered))
        posting.refused = client.refused
        if pace:
            await asyncio.sleep(max(0.0, began + begun / pace - time.time()))
        following = next(requests, None) if time.time() - began < seconds else None
        if following is not None:
            client.post(*following, due=began + begun / pace if pace else time.time())
            begun += 1
        elif len(posting.answers) == begun:
            break
    return posting


async def post_messages(load: Load) -> dict[str, object]:
    """Post a load, and say how it went."""
    began = time.time()
    posting = await post(
        load.requests(),
        port=load.port,
        status=202,
        connections=load.connections,
        seconds=load.seconds,
        pace=load.pace,
    )
    if load.notes:
        lines = (b"%s %.6f\n" % (name, answered) for name, _, answered in posting.answers)
        Path(load.notes).write_bytes(b"".join(lines))  # noqa: ASYNC240 - the load is over
    return {
        "requests": len(posting.answers),
        "seconds": max(answered for _, _, answered in posting.answers) - began,
        "refused": posting.refused.decode(errors="replace"),
    }


if __name__ == "__main__":
    print(json.dumps(uvloop.run(post_messages(Load(**json.loads(sys.argv[1]))))))
