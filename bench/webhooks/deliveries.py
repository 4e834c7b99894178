"""Deliveries a second, all of it: facts read, events and deliveries written, signed, posted, every attempt written down."""

import asyncio
import time
from contextlib import ExitStack
from ipaddress import ip_network
from statistics import median
from typing import Any
from uuid import uuid4

import uvloop

from bench.sending.stage import Platform, Stage, stage
from bench.sending.turns import say
from bench.webhooks.endpoints import connect, make_endpoints, tell
from bench.webhooks.receiver import Receiver, receiving
from chassis.secret import Secret
from services.webhooks.outbound.addresses import AddressRules
from services.webhooks.outbound.client import Client
from services.webhooks.outbound.destinations import DestinationRules, parse_destination
from services.webhooks.outbound.ports import PortRanges
from services.webhooks.outbound.resolver import Resolver
from services.webhooks.signing import key_of, signature_headers

_LEAST_A_SECOND = 3_000
_CONNECTIONS = 64
_PATIENCE_SECONDS = 300.0
_WRITTEN = "SELECT count(*) FROM webhooks.attempts WHERE outcome = 'delivered'"
_BODY = b'{"id":"0","type":"contact.updated","data":{"contact":{"email":"ada@example.test"}}}' + b" " * 520


def taken(number: int, endpoints: int, rounds: int) -> dict[str, Any]:
    """Rounds in which the process and a bare loop that only signs and posts take turns, into one receiver."""
    with stage() as made, ExitStack() as running:
        platform = Platform(made, made.addresses, {name: [pid] for name, pid in made.servers.items()})
        running.enter_context(platform.running("webhooks"))
        turns = uvloop.run(_turns(made, number, endpoints, rounds))
    delivered, bare = (median(rates) for rates in zip(*turns, strict=True))
    return {
        "delivered_per_second": round(delivered),
        "bare_loop_per_second": round(bare),
        "ratio": round(delivered / bare, 2),
        "meets": delivered >= _LEAST_A_SECOND,
    }


async def _turns(made: Stage, number: int, endpoints: int, rounds: int) -> list[tuple[float, float]]:
    turns = []
    async with receiving() as receiver:
        (secret, *_) = await make_endpoints(made, receiver.url, endpoints, "contact.updated")
        bus = await connect(made)
        for turn in range(rounds):
            turns.append(
                (await _delivered(made, bus, number, endpoints), await _bare(receiver, secret, number))
            )
            say(f"round {turn + 1}: {turns[-1][0]:,.0f}/s delivered, {turns[-1][1]:,.0f}/s by the bare loop")
        await bus.close()
    return turns


async def _delivered(made: Stage, bus: Any, number: int, endpoints: int) -> float:
    """From the first fact that is told until every attempt is written down."""
    before = _written(made)
    begun = time.monotonic()
    await tell(bus, made, number // endpoints)
    async with asyncio.timeout(_PATIENCE_SECONDS):
        while _written(made) < before + number:  # noqa: ASYNC110 - the rows tell nobody
            await asyncio.sleep(0.05)
    return number / (time.monotonic() - begun)


def _written(made: Stage) -> int:
    return int(str(made.look(_WRITTEN)[0][0]))


async def _bare(receiver: Receiver, secret: str, number: int) -> float:
    """The same client over 64 kept connections, with nothing to read and nothing to write down."""
    rules = DestinationRules(False, PortRanges.parse("1-65535"), AddressRules([ip_network("127.0.0.0/8")]))
    pool = Client(rules, Resolver("")).pool(parse_destination(receiver.url, rules))
    key, left = key_of(Secret(secret)), iter(range(number))

    async def post() -> None:
        for _ in left:
            await pool.post(signature_headers(str(uuid4()), int(time.time()), _BODY, [key]), _BODY)

    begun = time.monotonic()
    await asyncio.gather(*(post() for _ in range(_CONNECTIONS)))
    return number / (time.monotonic() - begun)
