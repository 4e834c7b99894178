"""Attempts are counted once and in their order, whoever tells of them, and however often."""

from typing import Any

import pytest

from chassis.identifiers import new_id
from services.webhooks.dispatch.journal import record
from services.webhooks.dispatch.parcels import Attempt, Entry
from services.webhooks.dispatch.targets import now
from services.webhooks.dispatch.verdicts import verdict
from services.webhooks.tests.house import House


def answered(delivery: Any, status_code: int) -> Entry:
    attempt = Attempt(
        id=new_id(), attempted_at=now(), outcome="answered", duration_ms=1, status_code=status_code
    )
    means = verdict(status_code=status_code, retry_after=None, scheduled=0, now=now())
    return Entry(delivery.endpoint_id, delivery.id, attempt, means)


async def waiting(webhooks: House) -> Any:
    """A delivery that nobody posts."""
    await webhooks.endpoint("http://127.0.0.1:9/")
    await webhooks.quietly().create_contacts()
    (delivery,) = await webhooks.deliveries()
    return delivery


async def write(webhooks: House, *entries: Entry) -> None:
    async with webhooks.database.tenant_transaction(webhooks.context) as session:
        await record(session, entries)


async def test_an_attempt_that_is_written_again_counts_once(webhooks: House) -> None:
    """As when the database was killed after it had committed, and before it could say so."""
    waits = await waiting(webhooks)
    first = answered(waits, 500)
    second = answered(waits, 200)
    await write(webhooks, first)
    await write(webhooks, first)
    await write(webhooks, first, second)
    (delivery,) = await webhooks.deliveries()
    assert (delivery.attempts, delivery.scheduled) == (2, 2)
    assert [attempt.number for attempt in await webhooks.attempts()] == [1, 2]


@pytest.mark.parametrize("status_code", [500, 410])
async def test_what_was_delivered_stays_so_when_another_attempt_fails_late(
    webhooks: House, status_code: int
) -> None:
    """As when a process lost its lease while it waited for an answer, and another has posted it."""
    waits = await waiting(webhooks)
    await write(webhooks, answered(waits, 200))
    await write(webhooks, answered(waits, status_code))
    (delivery,) = await webhooks.deliveries()
    assert (delivery.status, delivery.due_at, delivery.attempts) == ("delivered", None, 2)
