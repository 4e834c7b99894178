"""Gathering: what comes together goes together, and nobody alone waits."""

import asyncio
from collections.abc import Coroutine
from uuid import UUID, uuid4

import pytest

from chassis.context import RequestContext
from chassis.errors import Unavailable
from services.sending.delivery.gathering import GROUPS_UNDER_WAY, MOST_MESSAGES, Gathering


class Delivery:
    """Notes what it was given, and ends when it is let."""

    def __init__(self) -> None:
        self.groups: list[tuple[UUID, ...]] = []
        self.may_end = asyncio.Event()
        self.failure: Exception | None = None

    async def __call__(self, context: RequestContext, *batch_ids: UUID) -> None:
        """Deliver."""
        self.groups.append(batch_ids)
        await self.may_end.wait()
        if self.failure:
            raise self.failure


async def begun(*deliveries: Coroutine[None, None, None]) -> list[asyncio.Task[None]]:
    """Each in a task of its own, which has gone as far as it goes."""
    tasks = [asyncio.create_task(delivery) for delivery in deliveries]
    for _ in range(3):
        await asyncio.sleep(0)
    return tasks


def organization() -> RequestContext:
    """A context of a new one."""
    return RequestContext.of_process("delivery", uuid4())


async def test_a_message_that_comes_alone_goes_at_once() -> None:
    delivery, context, batch = Delivery(), organization(), uuid4()
    tasks = await begun(Gathering(delivery).deliver(context, batch, 1))
    assert delivery.groups == [(batch,)]
    delivery.may_end.set()
    await asyncio.gather(*tasks)


async def test_those_that_come_while_as_many_are_under_way_as_may_be_go_together() -> None:
    delivery, context, batches = Delivery(), organization(), [uuid4() for _ in range(2 * GROUPS_UNDER_WAY)]
    gathering = Gathering(delivery)
    tasks = await begun(*(gathering.deliver(context, batch, 1) for batch in batches))
    assert delivery.groups == [(batch,) for batch in batches[:GROUPS_UNDER_WAY]]
    delivery.may_end.set()
    await asyncio.gather(*tasks)
    assert delivery.groups[GROUPS_UNDER_WAY:] == [tuple(batches[GROUPS_UNDER_WAY:])]


async def test_a_group_has_no_more_messages_than_a_batch_of_a_campaign() -> None:
    delivery, context = Delivery(), organization()
    gathering = Gathering(delivery)
    tasks = await begun(
        *(gathering.deliver(context, uuid4(), MOST_MESSAGES // 2) for _ in range(GROUPS_UNDER_WAY + 5))
    )
    delivery.may_end.set()
    await asyncio.gather(*tasks)
    assert [len(group) for group in delivery.groups] == [1] * GROUPS_UNDER_WAY + [2, 2, 1]


async def test_an_organizations_messages_do_not_wait_for_anothers() -> None:
    delivery, busy, quiet, batch = Delivery(), organization(), organization(), uuid4()
    gathering = Gathering(delivery)
    tasks = await begun(*(gathering.deliver(busy, uuid4(), 1) for _ in range(2 * GROUPS_UNDER_WAY)))
    tasks += await begun(gathering.deliver(quiet, batch, 1))
    assert delivery.groups[-1] == (batch,)
    delivery.may_end.set()
    await asyncio.gather(*tasks)


async def test_a_failure_is_told_to_all_whom_it_concerns_and_the_next_ones_go_on() -> None:
    delivery, context = Delivery(), organization()
    gathering = Gathering(delivery)
    delivery.failure = Unavailable("The database does not answer.")
    delivery.may_end.set()
    tasks = await begun(*(gathering.deliver(context, uuid4(), 1) for _ in range(2 * GROUPS_UNDER_WAY)))
    failures = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(failure is delivery.failure for failure in failures)
    delivery.failure = None
    await gathering.deliver(context, uuid4(), 1)


async def test_a_reader_that_is_stopped_leaves_what_is_under_way_alone() -> None:
    delivery, context = Delivery(), organization()
    (task,) = await begun(Gathering(delivery).deliver(context, uuid4(), 1))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(delivery.groups) == 1
    delivery.may_end.set()
