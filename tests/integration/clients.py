"""Clients that call the API all the time, each by one connection that it keeps, and call nothing twice."""

import asyncio
import random
from dataclasses import dataclass, field
from itertools import count
from types import TracebackType
from typing import Self
from uuid import uuid4

import httpx

CLIENTS = 50
# Between two requests of one client, at random.
_PAUSE_SECONDS = (1.0, 4.0)
# Of each process that keys can call.
_READ = (
    "/v1/contacts?page_size=5",
    "/v1/campaigns?page_size=5",
    "/v1/suppressions?page_size=5",
    "/v1/workflows?page_size=5",
    "/v1/webhook-endpoints?page_size=5",
    "/v1/integrations/connections",
)


@dataclass
class Clients:
    """CLIENTS of them, from entering to leaving. What they have written and what went wrong is here to be read."""

    url: str
    # A user's, for what keys cannot do.
    session: str
    keys: list[str]
    requests: int = 0
    contacts: set[str] = field(default_factory=set)
    receivers: set[str] = field(default_factory=set)
    failures: list[str] = field(default_factory=list)
    _over: asyncio.Event = field(default_factory=asyncio.Event)
    _numbers: "count[int]" = field(default_factory=count)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        for number in range(CLIENTS):
            key = self.keys[number % len(self.keys)]
            self._tasks.append(asyncio.create_task(self._call_all_the_time(key)))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._over.set()
        await asyncio.gather(*self._tasks)

    async def _call_all_the_time(self, key: str) -> None:
        async with httpx.AsyncClient(base_url=self.url, timeout=30, verify=False) as http:
            while not self._over.is_set():
                # First of all, or all of them would call at once.
                await asyncio.sleep(random.uniform(*_PAUSE_SECONDS))
                http.headers["authorization"] = f"Bearer {self.session}"
                await self._call(http, "GET", "/v1/organization")
                http.headers["authorization"] = f"Bearer {key}"
                await self._call(http, "GET", random.choice(_READ))
                await self._write(http)

    async def _write(self, http: httpx.AsyncClient) -> None:
        email = f"{next(self._numbers)}.{uuid4().hex[:8]}@example.com"
        if random.random() < 0.5:
            await self._call(http, "POST", "/v1/contacts", {"email": email})
            self.contacts.add(email)
        else:
            await self._call(http, "POST", "/v1/messages", _message(email))
            self.receivers.add(email)

    async def _call(
        self, http: httpx.AsyncClient, method: str, path: str, body: dict[str, str] | None = None
    ) -> None:
        self.requests += 1
        try:
            answer = await http.request(method, path, json=body)
        except httpx.TransportError as error:
            self.failures.append(f"{method} {path}: {error!r}")
        else:
            if not answer.is_success:
                self.failures.append(f"{method} {path}: {answer.status_code} {answer.text[:300]}")


def _message(email: str) -> dict[str, str]:
    return {
        "to": email,
        "from_email": "orders@green-grocer.test",
        "subject": "Your receipt",
        "text": "Thank you for two punnets of strawberries.",
    }
