"""Gathering: what comes together goes together, and nobody alone waits."""

import asyncio
from collections.abc import Coroutine
from uuid import UUID, uuid4

import pytest

from chassis.context import RequestContext
from chassis.errors import Unavailable
from services.sending.gathering import Gathering

GROUPS, MESSAGES = 4, 250


class Work:
    """Notes what it was given, and ends when it is let."""

    def __init__(self) -> None:
        self.groups: list[tuple[UUID, ...]] = []
        self.may_end = asyncio.Event()
        self.failure: Exception | None = None

    async def __call__(self, context: RequestContext, *batch_ids: UUID) -> None:
        """Work on them."""
        self.groups.append(batch_ids)
        await self.may_end.wait()
        if self.failure:
            raise self.failure


def gathered(work: Work) -> Gathering[UUID]:
    return Gathering(work, groups=GROUPS, size=MESSAGES)


async def begun(*working: Coroutine[None, None, None]) -> list[asyncio.Task[None]]:
    """Each in a task of its own, which has gone as far as it goes."""
    tasks = [asyncio.create_task(each) for each in working]
    for _ in range(3):
        await asyncio.sleep(0)
    return tasks


def organization() -> RequestContext:
    """A context of a new one."""
    return RequestContext.of_process("delivery", uuid4())


async def test_whoever_comes_alone_goes_at_once() -> None:
    work, context, batch = Work(), organization(), uuid4()
    tasks = await begun(gathered(work).work_on(context, batch, 1))
    assert work.groups == [(batch,)]
    work.may_end.set()
    await asyncio.gather(*tasks)


async def test_those_that_come_while_as_many_are_under_way_as_may_be_go_together() -> None:
    work, context, batches = Work(), organization(), [uuid4() for _ in range(2 * GROUPS)]
    gathering = gathered(work)
    tasks = await begun(*(gathering.work_on(context, batch, 1) for batch in batches))
    assert work.groups == [(batch,) for batch in batches[:GROUPS]]
    work.may_end.set()
    await asyncio.gather(*tasks)
    assert work.groups[GROUPS:] == [tuple(batches[GROUPS:])]


async def test_a_group_has_no_more_messages_than_it_may() -> None:
    work, context = Work(), organization()
    gathering = gathered(work)
    tasks = await begun(*(gathering.work_on(context, uuid4(), MESSAGES // 2) for _ in range(GROUPS + 5)))
    work.may_end.set()
    await asyncio.gather(*tasks)
    assert [len(group) for group in work.groups] == [1] * GROUPS + [2, 2, 1]


async def test_a_group_that_pauses_takes_on_what_comes_meanwhile() -> None:
    work, context, batches = Work(), organization(), [uuid4() for _ in range(3)]
    work.may_end.set()
    gathering = Gathering[UUID](work, groups=GROUPS, size=MESSAGES, pause=0.01)
    await asyncio.gather(*(gathering.work_on(context, batch) for batch in batches))
    assert work.groups == [tuple(batches)]
    await gathering.work_on(context, batches[0])
    assert work.groups[1:] == [(batches[0],)]


async def test_an_organizations_messages_do_not_wait_for_anothers() -> None:
    work, busy, quiet, batch = Work(), organization(), organization(), uuid4()
    gathering = gathered(work)
    tasks = await begun(*(gathering.work_on(busy, uuid4(), 1) for _ in range(2 * GROUPS)))
    tasks += await begun(gathering.work_on(quiet, batch, 1))
    assert work.groups[-1] == (batch,)
    work.may_end.set()
    await asyncio.gather(*tasks)


async def test_a_failure_is_told_to_all_whom_it_concerns_and_the_next_ones_go_on() -> None:
    work, context = Work(), organization()
    gathering = gathered(work)
    work.failure = Unavailable("The database does not answer.")
    work.may_end.set()
    tasks = await begun(*(gathering.work_on(context, uuid4(), 1) for _ in range(2 * GROUPS)))
    failures = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(failure is work.failure for failure in failures)
    work.failure = None
    await gathering.work_on(context, uuid4(), 1)


async def test_a_reader_that_is_stopped_leaves_what_is_under_way_alone() -> None:
    work, context = Work(), organization()
    (task,) = await begun(gathered(work).work_on(context, uuid4(), 1))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(work.groups) == 1
    work.may_end.set()
