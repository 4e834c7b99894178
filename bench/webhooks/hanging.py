"""What endpoints that never answer do to the others: how soon those are told, with and without them, in turns."""

import asyncio
from contextlib import ExitStack
from itertools import cycle
from statistics import median
from typing import Any

import uvloop
from nats.aio.client import Client as Nats

from bench.sending.delays import percentiles
from bench.sending.processor import await_idle
from bench.sending.stage import Platform, Stage, stage
from bench.sending.turns import say
from bench.webhooks.endpoints import FACTS, connect, make_endpoints, tell
from bench.webhooks.receiver import receiving

_TIMES_P99 = 2.0
_FACTS_A_SECOND = 4
_SETTLING_SECONDS = 2.0
# Until then every endpoint has been told of something.
_WARMING_UP_SECONDS = 3

Figures = dict[str, float]


def weathered(endpoints: int, hanging: int, seconds: int, rounds: int) -> dict[str, Any]:
    """Rounds of so many seconds with all answering and with some hanging; a fact each quarter of a second goes to a quarter of the endpoints.

    Rounds should outlast the time-out of an attempt, 15 s, for attempts to end by it.
    """
    with stage() as made, ExitStack() as running:
        platform = Platform(made, made.addresses, {name: [pid] for name, pid in made.servers.items()})
        running.enter_context(platform.running("webhooks"))
        without, with_them = uvloop.run(_rounds(platform, endpoints, hanging, seconds, rounds))
    ratio = median(hung["p99"] / all_well["p99"] for all_well, hung in zip(without, with_them, strict=True))
    return {
        "without": _middle(without),
        "with": _middle(with_them),
        "times_p99": round(ratio, 2),
        "meets": ratio <= _TIMES_P99,
    }


async def _rounds(
    platform: Platform, endpoints: int, hanging: int, seconds: int, rounds: int
) -> tuple[list[Figures], list[Figures]]:
    made = platform.stage
    without: list[Figures] = []
    with_them: list[Figures] = []
    async with receiving() as receiver:
        paths = [f"/{number}" for number in range(endpoints)]
        await make_endpoints(made, [f"{receiver.origin}{path}" for path in paths], list(FACTS))
        bus = await connect(made)
        # Spread over all kinds of facts, since each next endpoint takes the next.
        dead = {path.encode() for path in paths[:hanging]}
        await _tell_of_facts(made, bus, _WARMING_UP_SECONDS)
        for turn in range(rounds):
            for figures, hangs in ((without, _nobody), (with_them, dead.__contains__)):
                await asyncio.to_thread(await_idle, {"webhooks": platform.pids["webhooks"]})
                receiver.hangs, receiver.delays = hangs, []
                await _tell_of_facts(made, bus, seconds)
                figures.append(percentiles([delay for path, delay in receiver.delays if path not in dead]))
                say(
                    f"round {turn + 1}, {'all well' if hangs is _nobody else f'{hanging} hang'}: {figures[-1]}"
                )
        await bus.close()
    return without, with_them


async def _tell_of_facts(made: Stage, bus: Nats, seconds: int) -> None:
    """At an even rate, by the clock, however long the one before took."""
    facts = cycle(FACTS.values())
    loop = asyncio.get_running_loop()
    begun = loop.time()
    for number in range(seconds * _FACTS_A_SECOND):
        await asyncio.sleep(begun + number / _FACTS_A_SECOND - loop.time())
        await tell(bus, made, next(facts)())
    await asyncio.sleep(_SETTLING_SECONDS)


def _nobody(_: bytes) -> bool:
    return False


def _middle(rounds: list[Figures]) -> Figures:
    return {name: round(median(figures[name] for figures in rounds), 4) for name in rounds[0]}
