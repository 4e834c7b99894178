"""How soon a wait that is over goes on, and how soon an event has its workflow's first effect, when nothing else happens."""

import asyncio
import random
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any
from uuid import UUID

import psycopg

from bench.sending.delays import percentiles
from bench.sending.processor import await_idle
from bench.sending.stage import Platform, stage
from bench.sending.turns import say
from bench.workflows.crowds import let_wait, mail, parse, start_workflow
from flownurture.sending.v1.custom_events_pb2 import CreateCustomEventRequest
from flownurture.sending.v1.custom_events_pb2_grpc import CustomEventServiceStub

_MOST_AFTER_A_WAIT = 1.0
_MOST_AFTER_AN_EVENT = 0.5
_PATIENCE_SECONDS = 30.0
_EVENT = "ordered"
_AFTER_A_WAIT = {
    "trigger": {"api": {}},
    "steps": [
        {"id": "pause", "wait": {"duration": {"days": 300}}},
        {"id": "hello", "send_email": mail("Hello")},
        {"id": "end", "exit": {}},
    ],
}
_AFTER_AN_EVENT = {
    "trigger": {"custom_event": {"name": _EVENT}},
    "steps": [{"id": "hello", "send_email": mail("Hello")}, {"id": "end", "exit": {}}],
}
_WAITING = """
    SELECT enrollment.contact_id FROM sending.enrollment_places AS place
    JOIN sending.enrollments AS enrollment
      ON enrollment.organization_id = place.organization_id AND enrollment.id = place.enrollment_id
    WHERE place.workflow_id = %s AND enrollment.source = 'date' LIMIT %s
"""
_IS_OVER = """
    UPDATE sending.enrollment_places AS place SET wake_at = now() FROM sending.enrollments AS enrollment
    WHERE enrollment.organization_id = place.organization_id AND enrollment.id = place.enrollment_id
      AND place.workflow_id = %s AND enrollment.contact_id = %s
"""
_PEOPLE = """
    SELECT contact_id FROM contacts.memberships WHERE organization_id = %s AND list_id = %s LIMIT %s
"""
_MESSAGE = "SELECT count(*) FROM sending.messages WHERE organization_id = %s AND contact_id = %s"


def begun(times: int) -> dict[str, Any]:
    """Seconds until the message is there that the first step writes: after a wait, and after an event is told by an RPC."""
    with stage() as made, ExitStack() as running:
        platform = Platform(made, made.addresses, {name: [pid] for name, pid in made.servers.items()})
        for name in ("identity", "contacts", "sending", "workflows"):
            running.enter_context(platform.running(name))
        waits = asyncio.run(start_workflow(made, parse(_AFTER_A_WAIT)))
        let_wait(made, waits, "pause", crowd=10_000, list_id=made.add_audience(times))
        asyncio.run(start_workflow(made, parse(_AFTER_AN_EVENT)))
        people = made.look(_PEOPLE, made.context.organization, made.add_audience(times), times)
        await_idle(platform.pids)
        after_waits = _after_waits(platform, waits, times)
        after_events = asyncio.run(_after_events(platform, [_id(row) for row in people]))
    figures = {"after_a_wait": percentiles(after_waits), "after_an_event": percentiles(after_events)}
    meets = (
        max(after_waits) <= _MOST_AFTER_A_WAIT and figures["after_an_event"]["p99"] <= _MOST_AFTER_AN_EVENT
    )
    return figures | {"slowest_after_a_wait": round(max(after_waits), 3), "meets": meets}


def _after_waits(platform: Platform, workflow_id: UUID, times: int) -> list[float]:
    """Waits that are over one after another, each at a moment of its own."""
    made = platform.stage
    delays = []
    with psycopg.connect(made.admin_url, autocommit=True) as connection:
        for row in made.look(_WAITING, workflow_id, times):
            contact_id = _id(row)
            time.sleep(random.random() / 2)  # noqa: S311 - no secret
            began = time.monotonic()
            connection.execute(_IS_OVER, [workflow_id, contact_id])
            delays.append(_until_there(connection, platform, contact_id) - began)
    say(f"{times} waits were over")
    return delays


async def _after_events(platform: Platform, people: Sequence[UUID]) -> list[float]:
    """Events that are told one after another, each once the one before has had its effect."""
    made = platform.stage
    delays = []
    async with made.peer("sending") as peer:
        stub = CustomEventServiceStub(peer.channel)
        with psycopg.connect(made.admin_url, autocommit=True) as connection:
            for contact_id in people:
                request = CreateCustomEventRequest(name=_EVENT, contact_id=str(contact_id))
                began = time.monotonic()
                await peer.call(stub.CreateCustomEvent, request, made.context)
                delays.append(_until_there(connection, platform, contact_id) - began)
    say(f"{len(people)} events were told")
    return delays


def _until_there(connection: psycopg.Connection[Any], platform: Platform, contact_id: UUID) -> float:
    """When the contact's message was seen."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        found = connection.execute(_MESSAGE, [platform.stage.context.organization, contact_id]).fetchone()
        if found and found[0]:
            return time.monotonic()
        time.sleep(0.005)
    raise SystemExit("a workflow did not begin")


def _id(row: tuple[object, ...]) -> UUID:
    if not isinstance(row[0], UUID):
        raise TypeError(row)
    return row[0]
