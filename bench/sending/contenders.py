"""The engine's connections against other ways to hand messages of 20 KB to the same relay, each over eight connections that stay open.

Our ways run in a process of their own: `python -m bench.sending.contenders NAME PORT MESSAGES` prints the seconds and the processor
seconds that one took.
"""

import asyncio
import json
import resource
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Any

import aiosmtplib
import uvloop

from bench.sending.processor import used
from bench.sending.sinks import Sink, debian, debian_sink, receiver
from bench.sending.turns import Turn, say_turn, times, together
from chassis.secret import Secret
from services.sending.delivery.smtp.envelope import Answer, Envelope
from services.sending.delivery.smtp.pool import ConnectionPool

SIZE = 20 * 1024
CONNECTIONS = 8
SENDER, RECIPIENT = "bounces@bench.test", "reader@bench.test"
_HEAD = f"From: <{SENDER}>\r\nTo: <{RECIPIENT}>\r\nSubject: bench\r\n\r\n".encode()
_LINE = b"x" * 70 + b"\r\n"
CONTENT = _HEAD + _LINE * ((SIZE - len(_HEAD)) // len(_LINE))

_TIMES_LIBRARY = 8
_TIMES_SOURCE = 2


async def engine(port: int, messages: int) -> None:
    """The delivery engine's connections, with nothing behind or before them."""
    left = messages

    def next_envelope() -> Envelope | None:
        nonlocal left
        if not left:
            return None
        left -= 1
        return Envelope(SENDER, RECIPIENT, CONTENT)

    def settle(_: Envelope, answer: Answer) -> None:
        if answer.reply.code != 250:
            raise SystemExit(answer.reply.shown)

    async def lane(pool: ConnectionPool) -> None:
        async with pool.connection() as connection:
            await connection.hand_over(next_envelope, settle)

    async with ConnectionPool(Secret(f"smtp://127.0.0.1:{port}"), "bench.test", size=CONNECTIONS) as pool:
        await asyncio.gather(*(lane(pool) for _ in range(CONNECTIONS)))


async def library(port: int, messages: int) -> None:
    """aiosmtplib, a client a connection."""

    async def lane() -> None:
        async with aiosmtplib.SMTP(hostname="127.0.0.1", port=port, local_hostname="bench.test") as client:
            for _ in range(messages // CONNECTIONS):
                await client.sendmail(SENDER, [RECIPIENT], CONTENT)

    await asyncio.gather(*(lane() for _ in range(CONNECTIONS)))


_OWN: dict[str, Callable[[int, int], Awaitable[None]]] = {"engine": engine, "library": library}
_SINKS: dict[str, Callable[[], AbstractContextManager[Sink]]] = {
    "smtp-sink": debian_sink,
    "receiver": receiver,
}


def compare(messages: int, rounds: int) -> dict[str, Any]:
    """The engine, `smtp-source` and aiosmtplib in turns, into Debian's `smtp-sink` and into a receiver that is not full so soon."""
    figures = {name: _into(name, messages, rounds) for name in _SINKS}
    # What is asked is how fast mail goes out; a relay that is full before its clients are tells something of itself.
    meets = (
        figures["receiver"]["times_source"] >= _TIMES_SOURCE
        and min(into["times_library"] for into in figures.values()) >= _TIMES_LIBRARY
    )
    return figures | {"meets": meets}


def own_turn(name: str, sink: Sink, messages: int) -> Turn:
    """A turn of `engine` or `library`, without the start of its interpreter."""
    command = [sys.executable, "-m", "bench.sending.contenders", name, str(sink.port), str(messages)]
    before = used([sink.pid])
    measured = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)  # noqa: S603
    taken = {"sender": measured["processor_seconds"], "relay": used([sink.pid]) - before}
    return Turn(messages, measured["seconds"], taken)


def _into(name: str, messages: int, rounds: int) -> dict[str, Any]:
    turns: dict[str, list[Turn]] = {"engine": [], "source": [], "library": []}
    with _SINKS[name]() as sink:
        for _ in range(rounds):
            turns["engine"].append(own_turn("engine", sink, messages))
            turns["source"].append(_source(sink, messages))
            # Slower by far: fewer messages tell as much.
            turns["library"].append(own_turn("library", sink, messages // 8))
            for contender, taken in turns.items():
                say_turn(f"{contender} into {name}", taken[-1])
    return {contender: together(taken) for contender, taken in turns.items()} | {
        "times_source": round(times(turns["engine"], turns["source"]), 2),
        "times_library": round(times(turns["engine"], turns["library"]), 2),
    }


def _source(sink: Sink, messages: int) -> Turn:
    """A turn of `smtp-source`, which is told to keep its connections."""
    command = [debian("smtp-source"), "-d", "-s", str(CONNECTIONS), "-m", str(messages), "-l", str(SIZE)]
    command += ["-f", SENDER, "-t", RECIPIENT, f"127.0.0.1:{sink.port}"]
    sender, relay, began = _of_ended_children(), used([sink.pid]), time.perf_counter()
    subprocess.run(command, check=True)  # noqa: S603
    seconds = time.perf_counter() - began
    taken = {"sender": _of_ended_children() - sender, "relay": used([sink.pid]) - relay}
    return Turn(messages, seconds, taken)


def _of_ended_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


async def _timed(name: str, port: int, messages: int) -> None:
    began, used = time.perf_counter(), time.process_time()
    await _OWN[name](port, messages)
    seconds, processor_seconds = time.perf_counter() - began, time.process_time() - used
    print(json.dumps({"seconds": seconds, "processor_seconds": processor_seconds}))


if __name__ == "__main__":
    uvloop.run(_timed(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
