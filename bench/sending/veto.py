"""How many addresses one process decides on, and whether a long suppression list costs more than a short one."""

import asyncio
import gc
import time
from collections.abc import Mapping, Sequence
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
# As the process reads its orders.
_AT_ONCE = 16
# Enough for the indexes of the long list: what is compared is how much there is to look through, and not where it is kept.
_SHARED_BUFFERS = "4GB"
_LIST = """
    INSERT INTO sending.suppressions (organization_id, email_digest, reason, email)
    SELECT %(organization)s, sha256(email::bytea) AS digest, 'unsubscribe', email
    FROM (SELECT 'listed-' || n || '@example.com' AS email FROM generate_series(1, %(size)s) AS n) AS listed
    ORDER BY digest
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
    with stage(shared_buffers=_SHARED_BUFFERS) as made:
        organizations = {size: _organization(made, size) for size in (small, large)}
        turns = uvloop.run(_turns(made, organizations, messages, rounds))
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
        # Without the triggers, which are there for what people change.
        connection.execute("SET session_replication_role = replica")
        connection.execute(_LIST, {"organization": organization, "size": size})
        connection.execute("VACUUM ANALYZE sending.suppressions")
    say(f"{size:,} addresses are on a list, in {time.monotonic() - began:.0f} s")
    return organization


async def _turns(
    made: Stage, organizations: Mapping[int, UUID], messages: int, rounds: int
) -> Mapping[int, list[Turn]]:
    """The turns of each, by how long its list is; the first round warms connections up, which a process keeps."""
    turns: dict[int, list[Turn]] = {size: [] for size in organizations}
    environment = process_environment("suppression", made.addresses, made.secrets)
    async with Database(Secret(environment["DATABASE_URL"]), schema="sending", pool_size=10) as database:
        for number in range(rounds + 1):
            for size, organization in organizations.items():
                batches = await asyncio.to_thread(_requested, made, organization, size, messages)
                gc.collect()
                turn = await _timed(made, database, organization, batches)
                say_turn(f"a list of {size:,}", turn)
                if number:
                    turns[size].append(turn)
    return turns


def _requested(made: Stage, organization: UUID, listed: int, messages: int) -> list[UUID]:
    """New batches of so many messages."""
    asked = {"organization": organization, "messages": messages, "batch": _BATCH, "listed": listed}
    with psycopg.connect(made.admin_url, autocommit=True) as connection:
        connection.execute(_BATCHES, asked)
        connection.execute("VACUUM ANALYZE sending.messages, sending.batches")
        connection.execute("CHECKPOINT")
        return [id_ for (id_,) in connection.execute(_REQUESTED, [organization])]


async def _timed(made: Stage, database: Database, organization: UUID, batches: Sequence[UUID]) -> Turn:
    postgres = made.servers["postgres"]
    context = RequestContext.of_process("suppression", organization)
    gathering = deciding_together(database)
    waiting = iter(batches)

    async def decide_in_turn() -> None:
        for batch in waiting:
            await gathering.work_on(context, batch, _BATCH)

    before, began, process = used([postgres]), time.monotonic(), time.process_time()
    async with asyncio.TaskGroup() as group:
        for _ in range(_AT_ONCE):
            group.create_task(decide_in_turn())
    seconds, process = time.monotonic() - began, time.process_time() - process
    # While the connections still are there.
    spent = used([postgres]) - before
    return Turn(len(batches) * _BATCH, seconds, {"postgres": spent, "process": process})
