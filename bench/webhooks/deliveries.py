"""Deliveries a second, all of it: facts read, events and deliveries written, signed, posted, every attempt written down."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from ipaddress import ip_network
from typing import Any
from uuid import uuid4

import uvloop
from nats.aio.client import Client as Nats

from bench.sending.processor import difference, used_by
from bench.sending.stage import Platform, Stage, stage
from bench.sending.turns import Turn, say_turn, times, together
from bench.webhooks import svix
from bench.webhooks.endpoints import connect, make_endpoints, tell_of_changes
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
_WARMING_UP = 2_000
_PATIENCE_SECONDS = 300.0
_WRITTEN = "SELECT count(*) FROM webhooks.attempts WHERE outcome = 'delivered'"
_BODY = b'{"id":"0","type":"contact.updated","data":{"contact":{"email":"ada@example.test"}}}' + b" " * 520


def taken(number: int, endpoints: int, rounds: int) -> dict[str, Any]:
    """Rounds in which the process and a bare loop that only signs and posts take turns, into one receiver; a Svix too where one is given."""
    with stage() as made, ExitStack() as running:
        platform = Platform(made, made.addresses, {name: [pid] for name, pid in made.servers.items()})
        running.enter_context(platform.running("webhooks"))
        turns = uvloop.run(_turns(platform, number, endpoints, rounds))
    ours = turns.pop("webhooks")
    figures = {name: together(theirs) for name, theirs in turns.items()}
    ratios = {f"times_{name}": round(times(ours, theirs), 2) for name, theirs in turns.items()}
    told = together(ours)
    return {"webhooks": told, **figures, **ratios, "meets": told["messages_per_second"] >= _LEAST_A_SECOND}


async def _turns(platform: Platform, number: int, endpoints: int, rounds: int) -> dict[str, list[Turn]]:
    made = platform.stage
    async with receiving() as receiver:
        urls = [receiver.url] * endpoints
        (secret, *_) = await make_endpoints(made, urls, ["contact.updated"])
        bus = await connect(made)
        contenders: dict[str, Callable[[int], Awaitable[float]]] = {
            "webhooks": lambda wanted: _delivered(made, bus, wanted, endpoints),
            "bare_loop": lambda wanted: _bare(receiver, secret, wanted),
        }
        if svix.is_given():
            rival = await svix.Svix.given(urls)
            contenders["svix"] = lambda wanted: rival.deliver(receiver, wanted // endpoints, wanted)
        turns: dict[str, list[Turn]] = {name: [] for name in contenders}
        for turn in range(rounds + 1):
            for name, contender in contenders.items():
                taken = await _turn(platform.pids, contender, number if turn else _WARMING_UP)
                if turn:
                    turns[name].append(taken)
                    say_turn(name, taken)
        await bus.close()
    return turns


async def _turn(
    pids: Mapping[str, list[int]], contender: Callable[[int], Awaitable[float]], number: int
) -> Turn:
    before = used_by(pids)
    seconds = await contender(number)
    return Turn(number, seconds, difference(before, used_by(pids)))


async def _delivered(made: Stage, bus: Nats, number: int, endpoints: int) -> float:
    """From the first fact that is told until every attempt is written down."""
    before = _written(made)
    begun = time.monotonic()
    await tell_of_changes(bus, made, number // endpoints)
    async with asyncio.timeout(_PATIENCE_SECONDS):
        while _written(made) < before + number:  # noqa: ASYNC110 - the rows tell nobody
            await asyncio.sleep(0.05)
    return time.monotonic() - begun


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
    return time.monotonic() - begun
