"""Ways to hand messages of 20 KB to a relay, each over eight connections that stay open.

Each is run in a process of its own: `python -m bench.sending.contenders NAME PORT MESSAGES` prints the seconds and the
processor seconds that it took.
"""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable

import aiosmtplib
import uvloop

from chassis.secret import Secret
from services.sending.delivery.smtp.envelope import Answer, Envelope
from services.sending.delivery.smtp.pool import ConnectionPool

SIZE = 20 * 1024
CONNECTIONS = 8
SENDER, RECIPIENT = "bounces@bench.test", "reader@bench.test"
_HEAD = f"From: <{SENDER}>\r\nTo: <{RECIPIENT}>\r\nSubject: bench\r\n\r\n".encode()
_LINE = b"x" * 70 + b"\r\n"
CONTENT = _HEAD + _LINE * ((SIZE - len(_HEAD)) // len(_LINE))


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


CONTENDERS: dict[str, Callable[[int, int], Awaitable[None]]] = {"engine": engine, "library": library}


async def _timed(name: str, port: int, messages: int) -> None:
    began, used = time.perf_counter(), time.process_time()
    await CONTENDERS[name](port, messages)
    seconds, processor_seconds = time.perf_counter() - began, time.process_time() - used
    print(json.dumps({"seconds": seconds, "processor_seconds": processor_seconds}))


if __name__ == "__main__":
    uvloop.run(_timed(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
