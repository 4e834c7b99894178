"""A receiver of webhooks on a real socket, which answers as a test says and keeps what came."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass(frozen=True, slots=True)
class Post:
    """What came: headers by their names in small letters, and the body."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def event(self) -> dict[str, Any]:
        parsed: dict[str, Any] = json.loads(self.body)
        return parsed


class Receiver:
    """Answers 200 unless told otherwise: `answer` is asked for the bytes of each answer."""

    def __init__(self) -> None:
        self.posts: list[Post] = []
        self.port = 0
        self.answer: Callable[[Post], Awaitable[bytes]] = self._fine
        self._came = asyncio.Condition()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hooks"

    async def wait_for(self, number: int, seconds: float = 20) -> list[Post]:
        """All posts, once there are so many."""
        async with asyncio.timeout(seconds), self._came:
            await self._came.wait_for(lambda: len(self.posts) >= number)
        return self.posts

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                headers = {
                    name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:])
                }
                body = await reader.readexactly(int(headers["content-length"]))
                post = Post(head[0].split(" ")[1], headers, body)
                self.posts.append(post)
                async with self._came:
                    self._came.notify_all()
                writer.write(await self.answer(post))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _fine(self, post: Post) -> bytes:
        return OK


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()


def answering(status: str, headers: str = "", body: bytes = b"") -> Callable[[Post], Awaitable[bytes]]:
    """The same answer to every post."""

    async def answer(post: Post) -> bytes:
        return f"HTTP/1.1 {status}\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body

    return answer
