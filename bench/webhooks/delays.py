"""How soon an event is at its endpoint, when nothing else happens: from the answer to who caused it, which comes after the commit."""

import asyncio
import time
from contextlib import ExitStack
from typing import Any

import uvloop

from bench.sending.delays import percentiles
from bench.sending.processor import await_idle
from bench.sending.stage import Platform, Stage, stage
from bench.webhooks.endpoints import make_endpoints
from bench.webhooks.receiver import receiving
from flownurture.contacts.v1.contacts_pb2 import CreateContactRequest
from flownurture.contacts.v1.contacts_pb2_grpc import ContactServiceStub

_MOST_P50, _MOST_P99 = 0.05, 0.3
_PATIENCE_SECONDS = 20.0


def begun(times: int) -> dict[str, Any]:
    """Seconds until the first attempt arrives, of so many contacts that are created one by one."""
    with stage() as made, ExitStack() as running:
        platform = Platform(made, made.addresses, {name: [pid] for name, pid in made.servers.items()})
        for name in ("identity", "contacts", "webhooks"):
            running.enter_context(platform.running(name))
        await_idle(platform.pids)
        figures = percentiles(uvloop.run(_delays(made, times)))
    return figures | {"meets": figures["p50"] <= _MOST_P50 and figures["p99"] <= _MOST_P99}


async def _delays(made: Stage, times: int) -> list[float]:
    delays = []
    async with receiving() as receiver, made.peer("contacts") as peer:
        await make_endpoints(made, [receiver.url], ["contact.created"])
        stub = ContactServiceStub(peer.channel)
        for number in range(times):
            await peer.call(
                stub.CreateContact, CreateContactRequest(email=f"reader{number}@example.com"), made.context
            )
            committed = time.monotonic()
            async with asyncio.timeout(_PATIENCE_SECONDS):
                delays.append(await receiver.arrival(number) - committed)
    return delays
