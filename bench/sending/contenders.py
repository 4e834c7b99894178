"""The engine's connections against other ways to hand messages of 20 KB to the same relay, each over connections that stay open.

Our ways run in a process of their own: `python -m bench.sending.contenders NAME PORT MESSAGES CONNECTIONS` prints the seconds and the
processor seconds that one took.
"""

import asyncio
import json
import resource
import ssl
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
from services.sending.delivery.smtp.connection import Connection
from services.sending.delivery.smtp.envelope import Answer, Envelope
from services.sending.relay_address import RelayAddress

SIZE = 20 * 1024
CONNECTIONS = 8
SENDER, RECIPIENT = "bounces@bench.test", "reader@bench.test"
_HEAD = f"From: <{SENDER}>\r\nTo: <{RECIPIENT}>\r\nSubject: bench\r\n\r\n".encode()
_LINE = b"x" * 70 + b"\r\n"
CONTENT = _HEAD + _LINE * ((SIZE - len(_HEAD)) // len(_LINE))

_TIMES_LIBRARY = 8
_TIMES_SOURCE = 2


async def engine(port: int, messages: int, connections: int) -> None:
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

    async def lane() -> None:
        connection = await Connection.open(relay, "bench.test", ssl.create_default_context())
        await connection.hand_over(next_envelope, settle)
        await connection.close()

    relay = RelayAddress.of(Secret(f"smtp://127.0.0.1:{port}"))
    await asyncio.gather(*(lane() for _ in range(connections)))


async def library(port: int, messages: int, connections: int) -> None:
    """aiosmtplib, a client a connection."""

    async def lane() -> None:
        async with aiosmtplib.SMTP(hostname="127.0.0.1", port=port, local_hostname="bench.test") as client:
            for _ in range(messages // connections):
                await client.sendmail(SENDER, [RECIPIENT], CONTENT)

    await asyncio.gather(*(lane() for _ in range(connections)))


_OWN: dict[str, Callable[[int, int, int], Awaitable[None]]] = {"engine": engine, "library": library}
_SINKS: dict[str, Callable[[], AbstractContextManager[Sink]]] = {
    "smtp-sink": debian_sink,
    "receiver": receiver,
}


def compare(messages: int, rounds: int) -> dict[str, Any]:
    """The engine, `smtp-source` and aiosmtplib in turns, on eight connections and on one.

    They hand over to Debian's `smtp-sink`, and to a receiver that is not full so soon: what is asked is how fast mail goes out, and a
    relay that is full before its clients are tells something of itself.
    """
    figures = {
        f"{name}, {connections} connections": _into(name, messages, rounds, connections)
        for name in _SINKS
        for connections in (CONNECTIONS, 1)
    }
    decisive = figures[f"receiver, {CONNECTIONS} connections"]
    meets = decisive["times_source"] >= _TIMES_SOURCE and decisive["times_library"] >= _TIMES_LIBRARY
    return figures | {"meets": meets}


def own_turn(name: str, sink: Sink, messages: int, connections: int = CONNECTIONS) -> Turn:
    """A turn of `engine` or `library`, without the start of its interpreter."""
    command = [sys.executable, "-m", "bench.sending.contenders", name]
    command += [str(number) for number in (sink.port, messages, connections)]
    before = used([sink.pid])
    measured = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)  # noqa: S603
    taken = {"sender": measured["processor_seconds"], "relay": used([sink.pid]) - before}
    return Turn(messages, measured["seconds"], taken)


def _into(name: str, messages: int, rounds: int, connections: int) -> dict[str, Any]:
    turns: dict[str, list[Turn]] = {"engine": [], "source": [], "library": []}
    with _SINKS[name]() as sink:
        for _ in range(rounds):
            turns["engine"].append(own_turn("engine", sink, messages, connections))
            turns["source"].append(_source(sink, messages, connections))
            # Slower by far: fewer messages tell as much.
            turns["library"].append(own_turn("library", sink, messages // 8, connections))
            for contender, taken in turns.items():
                say_turn(f"{contender} into {name}, {connections} connections", taken[-1])
    return {contender: together(taken) for contender, taken in turns.items()} | {
        "times_source": round(times(turns["engine"], turns["source"]), 2),
        "times_library": round(times(turns["engine"], turns["library"]), 2),
    }


def _source(sink: Sink, messages: int, connections: int) -> Turn:
    """A turn of `smtp-source`, which is told to keep its connections."""
    command = [debian("smtp-source"), "-d", "-s", str(connections), "-m", str(messages), "-l", str(SIZE)]
    command += ["-f", SENDER, "-t", RECIPIENT, f"127.0.0.1:{sink.port}"]
    sender, relay, began = _of_ended_children(), used([sink.pid]), time.perf_counter()
    subprocess.run(command, check=True)  # noqa: S603
    seconds = time.perf_counter() - began
    taken = {"sender": _of_ended_children() - sender, "relay": used([sink.pid]) - relay}
    return Turn(messages, seconds, taken)


def _of_ended_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


async def _timed(name: str, port: int, messages: int, connections: int) -> None:
    began, used = time.perf_counter(), time.process_time()
    await _OWN[name](port, messages, connections)
    seconds, processor_seconds = time.perf_counter() - began, time.process_time() - used
    print(json.dumps({"seconds": seconds, "processor_seconds": processor_seconds}))


if __name__ == "__main__":
    uvloop.run(_timed(sys.argv[1], *map(int, sys.argv[2:5])))
