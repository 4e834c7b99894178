"""A svix-server that already runs, through its public API (https://api.svix.com/docs).

Told by SVIX_URL and SVIX_TOKEN (what `svix-server jwt generate` prints). It must be let post to 127.0.0.1 (SVIX_WHITELIST_SUBNETS). The
application and the endpoints that are made there stay.
"""

import asyncio
import os
import time
from dataclasses import dataclass

import httpx

from bench.webhooks.receiver import Receiver

# Its API takes one message a request.
_AT_A_TIME = 64
_PATIENCE_SECONDS = 600.0


def is_given() -> bool:
    """Whether there is one to measure."""
    return all(os.environ.get(name) for name in ("SVIX_URL", "SVIX_TOKEN"))


@dataclass(frozen=True)
class Svix:
    """One, with an application of its own in it."""

    client: httpx.AsyncClient
    application: str

    @classmethod
    async def given(cls, urls: list[str]) -> "Svix":
        """The one that the environment tells of, with these endpoints, each of which takes everything."""
        client = httpx.AsyncClient(
            base_url=os.environ["SVIX_URL"],
            headers={"Authorization": f"Bearer {os.environ['SVIX_TOKEN']}"},
            limits=httpx.Limits(max_connections=_AT_A_TIME),
            timeout=60,
        )
        made = await client.post("/api/v1/app/", json={"name": f"bench {time.time():.0f}"})
        application = str(made.raise_for_status().json()["id"])
        for url in urls:
            endpoint = await client.post(
                f"/api/v1/app/{application}/endpoint/", json={"url": url, "version": 1}
            )
            endpoint.raise_for_status()
        return cls(client, application)

    async def deliver(self, receiver: Receiver, messages: int, deliveries: int) -> float:
        """Seconds from the first message that is told until so many posts have come; what it still writes down then is not waited for."""
        before, left = len(receiver.arrivals), iter(range(messages))

        async def tell() -> None:
            for number in left:
                told = {
                    "eventType": "contact.updated",
                    "payload": {"contact": {"email": f"reader{number}@example.test"}, "filler": " " * 520},
                }
                answer = await self.client.post(f"/api/v1/app/{self.application}/msg/", json=told)
                answer.raise_for_status()

        begun = time.monotonic()
        async with asyncio.timeout(_PATIENCE_SECONDS):
            await asyncio.gather(*(tell() for _ in range(_AT_A_TIME)))
            return await receiver.arrival(before + deliveries - 1) - begun
