"""Batches of one organization whose orders come while others of it are worked on are worked on together: one statement, one commit.

Whoever comes alone goes at once. So nobody waits for company on a quiet day, and on a busy one, the longer a commit takes, the more
share it.
"""

import asyncio
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from uuid import UUID

from chassis.context import RequestContext
from chassis.errors import Unavailable


@dataclass(slots=True)
class _Batch:
    id: UUID
    done: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


@dataclass(slots=True)
class _Group:
    context: RequestContext
    batches: list[_Batch] = field(default_factory=list)
    messages: int = 0


class Gathering:
    """Gives `act` the batches that wait, so many messages of an organization at a time, while fewer than so many groups are under way."""

    def __init__(self, act: Callable[..., Awaitable[None]], *, groups: int, messages: int) -> None:
        self._act = act
        self._most_groups = groups
        self._most_messages = messages
        self._waiting: dict[UUID, deque[_Group]] = defaultdict(deque)
        self._under_way: Counter[UUID] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()

    async def work_on(self, context: RequestContext, batch_id: UUID, messages: int) -> None:
        """Have a batch of so many messages worked on; returns, or raises, as that ends. Whoever is cancelled takes nobody along."""
        batch = _Batch(batch_id)
        group = self._group_with_room_for(context, messages)
        group.batches.append(batch)
        group.messages += messages
        self._begin(context.organization)
        await asyncio.shield(batch.done)

    def _group_with_room_for(self, context: RequestContext, messages: int) -> _Group:
        waiting = self._waiting[context.organization]
        if not waiting or waiting[-1].messages + messages > self._most_messages:
            waiting.append(_Group(context))
        return waiting[-1]

    def _begin(self, organization: UUID) -> None:
        if self._under_way[organization] < self._most_groups and self._waiting[organization]:
            self._under_way[organization] += 1
            group = self._waiting[organization].popleft()
            task = asyncio.create_task(self._go(organization, group))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _go(self, organization: UUID, group: _Group) -> None:
        try:
            await self._work(group.context, group.batches)
        finally:
            self._under_way[organization] -= 1
            self._begin(organization)
            if not self._under_way[organization]:
                del self._under_way[organization], self._waiting[organization]

    async def _work(self, context: RequestContext, batches: list[_Batch]) -> None:
        try:
            await self._act(context, *(batch.id for batch in batches))
        except Exception as failure:
            if len(batches) > 1 and not isinstance(failure, Unavailable):
                # One of them may be at fault: it alone fails.
                for batch in batches:
                    await self._work(context, [batch])
                return
            for batch in batches:
                batch.done.set_exception(failure)
        else:
            for batch in batches:
                batch.done.set_result(None)
