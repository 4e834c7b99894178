"""How many addresses one process decides on, and whether a long suppression list costs more than a short one."""

import asyncio
import gc
import time
from collections.abc import Iterable, Iterator
from statistics import median
from typing import Any
from uuid import UUID, uuid4

import psycopg
import uvloop

from bench.sending.processor import used
from bench.sending.stage import Stage, stage
from bench.sending.turns import Turn, say, say_turn
from chassis.context import RequestContext
from chassis.database import Database
from chassis.secret import Secret
from deploy.local.environment import process_environment
from services.sending.suppression.deciding import deciding_together

_LEAST_RATE = 100_000
_MOST_TIMES_AS_MUCH = 1.3
_BATCH = 250
_WARM = 160
# As the process reads its orders.
_AT_ONCE = 16
_LIST = """
    INSERT INTO sending.suppressions (organization_id, email_digest, reason, email)
    SELECT %(organization)s, sha256(('listed-' || n || '@example.com')::bytea), 'unsubscribe', 'listed-' || n || '@example.com'
    FROM generate_series(1, %(size)s) AS n
"""
# Every hundredth is to somebody on the list.
_BATCHES = """
    WITH made AS (
        INSERT INTO sending.batches (organization_id, id, status, size)
        SELECT %(organization)s, uuidv7(), 'requested', %(batch)s FROM generate_series(1, %(messages)s / %(batch)s)
        RETURNING id
    ), numbered AS (
        SELECT id, row_number() OVER () AS number FROM made
    )
    INSERT INTO sending.messages (organization_id, id, batch_id, email, email_digest)
    SELECT %(organization)s, uuidv7(), numbered.id, email, sha256(email::bytea)
    FROM numbered CROSS JOIN generate_series(1, %(batch)s) AS place CROSS JOIN LATERAL (
        SELECT CASE WHEN place %% 100 = 0 THEN 'listed-' || 1 + (numbered.number * 7919 + place) %% %(listed)s
               ELSE 'reader-' || numbered.number || '-' || place END || '@example.com' AS email
    ) AS addressed
"""
_REQUESTED = "SELECT id FROM sending.batches WHERE organization_id = %s AND status = 'requested'"


def lists(small: int, large: int, messages: int, rounds: int) -> dict[str, Any]:
    """One process deciding on the messages of two organizations in turns, whose lists are of these sizes."""
    with stage() as made:
        organizations = {size: _organization(made, size) for size in (small, large)}
        turns: dict[int, list[Turn]] = {small: [], large: []}
        for _ in range(rounds):
            for size, organization in organizations.items():
                turn = _decide_all(made, organization, size, messages)
                say_turn(f"a list of {size:,}", turn)
                turns[size].append(turn)
    rate = median(turn.rate for turn in turns[large])
    times_as_much = median(
        much.processor_microseconds("postgres") / little.processor_microseconds("postgres")
        for little, much in zip(turns[small], turns[large], strict=True)
    )
    return {
        "addresses_per_second": {
            f"{size:,}": round(median(turn.rate for turn in turns[size])) for size in turns
        },
        "processor_microseconds": {
            f"{size:,}": {
                name: round(median(turn.processor_microseconds(name) for turn in turns[size]), 2)
                for name in ("postgres", "process")
            }
            for size in turns
        },
        "times_as_much": round(times_as_much, 3),
        "compared": f"a list of {large:,} with one of {small:,}",
        "meets": rate >= _LEAST_RATE and times_as_much <= _MOST_TIMES_AS_MUCH,
    }


def _organization(made: Stage, size: int) -> UUID:
    organization = uuid4()
    began = time.monotonic()
    with psycopg.connect(made.admin_url, autocommit=True) as connection:
        connection.execute(_LIST, {"organization": organization, "size": size})
        connection.execute("VACUUM ANALYZE sending.suppressions")
    say(f"{size:,} addresses are on a list, in {time.monotonic() - began:.0f} s")
    return organization


def _decide_all(made: Stage, organization: UUID, listed: int, messages: int) -> Turn:
    """Decide on new batches of so many messages."""
    asked = {"organization": organization, "messages": messages, "batch": _BATCH, "listed": listed}
    with psycopg.connect(made.admin_url, autocommit=True) as connection:
        connection.execute(_BATCHES, asked)
        connection.execute("VACUUM ANALYZE sending.messages, sending.batches")
        connection.execute("CHECKPOINT")
        batches = [id_ for (id_,) in connection.execute(_REQUESTED, [organization])]
    gc.collect()
    return uvloop.run(_timed(made, organization, batches, messages))


async def _timed(made: Stage, organization: UUID, batches: list[UUID], messages: int) -> Turn:
    postgres = made.servers["postgres"]
    environment = process_environment("suppression", made.addresses, made.secrets)
    context = RequestContext.of_process("suppression", organization)
    async with Database(Secret(environment["DATABASE_URL"]), schema="sending", pool_size=10) as database:
        gathering = deciding_together(database)

        async def decide_in_turn(waiting: Iterator[UUID]) -> None:
            for batch in waiting:
                await gathering.work_on(context, batch, _BATCH)

        async def decide_on(batches: Iterable[UUID]) -> None:
            waiting = iter(batches)

            async with asyncio.TaskGroup() as group:
                for _ in range(_AT_ONCE):
                    group.create_task(decide_in_turn(waiting))

        # Until connections, statements and plans are there.
        await decide_on(batches[:_WARM])
        before, began, process = used([postgres]), time.monotonic(), time.process_time()
        await decide_on(batches[_WARM:])
        seconds, process = time.monotonic() - began, time.process_time() - process
        # While the connections still are there.
        spent = used([postgres]) - before
    return Turn(messages - _WARM * _BATCH, seconds, {"postgres": spent, "process": process})
