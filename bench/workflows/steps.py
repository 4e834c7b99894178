"""How many steps a second a workflows process takes, and whether it matters how many wait."""

import asyncio
import time
from collections.abc import Mapping
from statistics import median
from typing import Any
from uuid import UUID

import psycopg

from bench.sending.processor import await_idle, difference, used_by
from bench.sending.stage import Platform, Stage, stage
from bench.sending.turns import Turn, say
from bench.workflows.crowds import let_wait, mail, parse, start_workflow

_LEAST_RATE = 3_000
_MOST_TIMES_AS_MUCH = 1.2
_SHARED_BUFFERS = "1GB"
_PATIENCE_SECONDS = 300.0

# Round and round, so that each turn finds everybody where the one before did: the wait ends, contacts say whom the rule fits, a mail is
# written, and back to the wait.
_DOCUMENT = {
    "trigger": {"api": {}},
    "steps": [
        {"id": "pause", "wait": {"duration": {"days": 300}}},
        {
            "id": "which",
            "branch": {
                "ways": [
                    {
                        "rule": {
                            "custom_field": {"key": "score", "operator": "OPERATOR_AT_LEAST", "value": 50}
                        },
                        "step_id": "offer",
                    }
                ]
            },
        },
        {"id": "hello", "send_email": mail("Hello")},
        {"id": "back", "go_to": {"step_id": "pause"}},
        {"id": "offer", "send_email": mail("An offer")},
        {"id": "back_too", "go_to": {"step_id": "pause"}},
    ],
}
_DUE = """
    UPDATE sending.enrollment_places AS place SET wake_at = now() FROM sending.enrollments AS enrollment
    WHERE enrollment.organization_id = place.organization_id AND enrollment.id = place.enrollment_id
      AND place.workflow_id = %s AND enrollment.source = 'date'
"""
_LEFT = """
    SELECT count(*) FROM (
        SELECT FROM sending.enrollment_places
        WHERE organization_id = %s AND workflow_id = %s AND wake_at < now() + interval '1 hour' LIMIT 1
    ) AS left_over
"""
_TAKEN = (
    "SELECT coalesce(sum(number), 0) FROM sending.workflow_counts WHERE workflow_id = %s AND what = 'taken'"
)


def taken(small: int, large: int, due: int, rounds: int) -> dict[str, Any]:
    """One process taking steps of two workflows in turns, in which so many wait."""
    with stage(shared_buffers=_SHARED_BUFFERS) as made:
        workflows = {size: _workflow(made, size, due) for size in (small, large)}
        turns: dict[int, list[Turn]] = {size: [] for size in workflows}
        platform = Platform(made, made.addresses, {name: [pid] for name, pid in made.servers.items()})
        with platform.running("identity"), platform.running("contacts"), platform.running("workflows"):
            # The first round warms up.
            for number in range(rounds + 1):
                for size, workflow_id in workflows.items():
                    turn = _turn(platform, workflow_id)
                    say(f"{size:,} wait: {turn.messages:,} steps in {turn.seconds:.2f} s, {turn.rate:,.0f}/s")
                    if number:
                        turns[size].append(turn)
    rate = median(turn.rate for turn in turns[large])
    times_as_much = median(
        (much.seconds / much.messages) / (little.seconds / little.messages)
        for little, much in zip(turns[small], turns[large], strict=True)
    )
    return {
        "steps_per_second": {
            f"{size:,}": round(median(turn.rate for turn in of)) for size, of in turns.items()
        },
        "processor_microseconds": {f"{size:,}": _processor(of) for size, of in turns.items()},
        "times_as_much": round(times_as_much, 3),
        "compared": f"the time of a step, {large:,} waiting with {small:,}",
        "meets": rate >= _LEAST_RATE and times_as_much <= _MOST_TIMES_AS_MUCH,
    }


def _workflow(made: Stage, size: int, due: int) -> UUID:
    began = time.monotonic()
    workflow_id = asyncio.run(start_workflow(made, parse(_DOCUMENT)))
    let_wait(
        made, workflow_id, "pause", crowd=size - due if size > due else size, list_id=made.add_audience(due)
    )
    say(f"{size:,} wait, in {time.monotonic() - began:.0f} s")
    return workflow_id


def _turn(platform: Platform, workflow_id: UUID) -> Turn:
    """Those who are contacts become due at once, until none is."""
    made = platform.stage
    await_idle(platform.pids)
    with psycopg.connect(made.admin_url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE sending.enrollment_places")
        connection.execute("CHECKPOINT")
        already = _number(connection, _TAKEN, workflow_id)
        before = used_by(platform.pids)
        connection.execute(_DUE, [workflow_id])
        began = time.monotonic()
        while _number(connection, _LEFT, made.context.organization, workflow_id):
            if time.monotonic() - began > _PATIENCE_SECONDS:
                raise SystemExit("the steps were not taken")
            time.sleep(0.02)
        seconds = time.monotonic() - began
        spent = difference(before, used_by(platform.pids))
        return Turn(_number(connection, _TAKEN, workflow_id) - already, seconds, spent)


def _number(connection: psycopg.Connection[Any], query: str, *given: object) -> int:
    found = connection.execute(query, given).fetchone()
    return int(found[0]) if found else 0


def _processor(turns: list[Turn]) -> Mapping[str, float]:
    names = ("postgres", "workflows", "contacts")
    return {name: round(median(turn.processor_microseconds(name) for turn in turns), 1) for name in names}
