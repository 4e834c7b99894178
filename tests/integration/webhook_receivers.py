"""Endpoints of customers on a real socket, well and ill: each verifies what is posted to it, and notes it."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from uuid import uuid4

from standardwebhooks.webhooks import Webhook, WebhookVerificationError


class Health(StrEnum):
    """How an endpoint answers, until all of them are made well."""

    WELL = "well"
    FAILS = "fails"
    HANGS = "hangs"
    # Asks to be left alone for a while, time and again.
    IS_FULL = "is full"


_ANSWERS_AFTER_SECONDS = 0.02
_FULL_AT_EACH = 20


@dataclass(slots=True)
class Receiver:
    """One endpoint. `copies` counts the posts of each event, and `told_of` holds the contacts that it was told were created."""

    health: Health
    url: str
    secret: str = ""
    copies: Counter[str] = field(default_factory=Counter)
    bodies: dict[str, set[bytes]] = field(default_factory=dict)
    told_of: set[str] = field(default_factory=set)
    not_verified: int = 0
    under_way: int = 0

    @property
    def posts(self) -> int:
        """How many came."""
        return self.copies.total()

    def note(self, headers: Mapping[str, str], body: bytes) -> None:
        """Verify and keep it."""
        try:
            event = Webhook(self.secret).verify(body, dict(headers))
        except WebhookVerificationError:
            self.not_verified += 1
            return
        self.copies[headers["webhook-id"]] += 1
        self.bodies.setdefault(headers["webhook-id"], set()).add(sha256(body).digest())
        if event["type"] == "contact.created":
            self.told_of.add(event["data"]["contact"]["id"])


class Receivers:
    """All of them behind one port, by their paths."""

    def __init__(self) -> None:
        self._at: dict[str, Receiver] = {}
        self._well = asyncio.Event()
        self.port = 0

    def add(self, health: Health) -> Receiver:
        """One more; its URL is its own."""
        path = f"/{uuid4().hex}"
        self._at[path] = Receiver(health, f"http://127.0.0.1:{self.port}{path}")
        return self._at[path]

    def make_well(self) -> None:
        """From now on everybody takes everything, and whoever had a post wait answers it."""
        self._well.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer what comes over one connection."""
        try:
            while True:
                start, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
                body = await reader.readexactly(int(headers["content-length"]))
                receiver = self._at[start.split(" ")[1]]
                receiver.note(headers, body)
                receiver.under_way += 1
                try:
                    writer.write(await self._answer(receiver))
                    await writer.drain()
                finally:
                    receiver.under_way -= 1
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answer(self, receiver: Receiver) -> bytes:
        if receiver.health is Health.HANGS:
            await self._well.wait()
        elif not self._well.is_set():
            await asyncio.sleep(_ANSWERS_AFTER_SECONDS)
            if receiver.health is Health.FAILS:
                return _answer_of("500 Broken")
            if receiver.health is Health.IS_FULL and receiver.posts % _FULL_AT_EACH == 0:
                return _answer_of("429 Later", "Retry-After: 1\r\n")
        return _answer_of("200 Taken")


def _answer_of(status: str, headers: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\n{headers}Content-Length: 0\r\n\r\n".encode()


@asynccontextmanager
async def receivers() -> AsyncIterator[Receivers]:
    """A socket for them, on loopback, which the house allows."""
    opened = Receivers()
    server = await asyncio.start_server(opened.serve, "127.0.0.1", 0)
    opened.port = server.sockets[0].getsockname()[1]
    try:
        yield opened
    finally:
        server.close()
