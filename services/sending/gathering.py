"""What comes for one organization, or for none, while other such work of it is under way is done together: one statement, one commit.

Whoever comes alone goes at once. So nobody waits for company on a quiet day, and on a busy one, the longer a commit takes, the more
share it.

The work is done in the trace of the first that came; those of the others lead to it, and what is known by its id goes on in its own.
"""

import asyncio
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import Generic, TypeVar
from uuid import UUID

from opentelemetry.trace import Span

from chassis import tracing
from chassis.context import RequestContext
from chassis.errors import Unavailable

Work = TypeVar("Work")


@dataclass(slots=True)
class _Item(Generic[Work]):
    work: Work
    done: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    # What its logs and its trace go by.
    variables: Context = field(default_factory=copy_context)
    span: Span = field(default_factory=tracing.here)
    trace: str = field(default_factory=tracing.current)


@dataclass(slots=True)
class _Group(Generic[Work]):
    context: RequestContext
    items: list[_Item[Work]] = field(default_factory=list)
    size: int = 0


class Gathering(Generic[Work]):
    """Gives `act` the work that waits, up to a size of an organization's at a time, while fewer than so many groups are under way.

    With a pause, for work that nobody waits for, a group takes on more for so many seconds before it goes.
    """

    def __init__(
        self, act: Callable[..., Awaitable[None]], *, groups: int, size: int, pause: float = 0.0
    ) -> None:
        self._act = act
        self._most_groups = groups
        self._most_size = size
        self._pause = pause
        self._waiting: dict[UUID | None, deque[_Group[Work]]] = defaultdict(deque)
        self._under_way: Counter[UUID | None] = Counter()
        # Of these, groups that pause.
        self._leaving: Counter[UUID | None] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()

    async def work_on(self, context: RequestContext, work: Work, size: int = 1) -> None:
        """Have it done; returns, or raises, as that ends. Whoever is cancelled takes nobody along."""
        item = _Item(work)
        group = self._group_with_room_for(context, size)
        group.items.append(item)
        group.size += size
        self._begin(context.organization_id)
        await asyncio.shield(item.done)

    def _group_with_room_for(self, context: RequestContext, size: int) -> _Group[Work]:
        waiting = self._waiting[context.organization_id]
        if not waiting or waiting[-1].size + size > self._most_size:
            waiting.append(_Group(context))
        return waiting[-1]

    def _begin(self, organization: UUID | None) -> None:
        if (
            self._under_way[organization] < self._most_groups
            and len(self._waiting[organization]) > self._leaving[organization]
        ):
            self._under_way[organization] += 1
            self._leaving[organization] += 1
            if self._pause:
                asyncio.get_running_loop().call_later(self._pause, self._depart, organization)
            else:
                self._depart(organization)

    def _depart(self, organization: UUID | None) -> None:
        self._leaving[organization] -= 1
        group = self._waiting[organization].popleft()
        task = asyncio.create_task(self._go(organization, group), context=group.items[0].variables)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _go(self, organization: UUID | None, group: _Group[Work]) -> None:
        tracing.join(item.span for item in group.items)
        own: dict[UUID, str] = {}
        for item in group.items:
            if isinstance(item.work, UUID):
                own[item.work] = item.trace
        try:
            with tracing.each_in_its_own(own):
                await self._do(group.context, group.items)
        finally:
            self._under_way[organization] -= 1
            self._begin(organization)
            if not self._under_way[organization]:
                del self._under_way[organization], self._leaving[organization], self._waiting[organization]

    async def _do(self, context: RequestContext, items: list[_Item[Work]]) -> None:
        try:
            await self._act(context, *(item.work for item in items))
        except Exception as failure:
            if len(items) > 1 and not isinstance(failure, Unavailable):
                # One of them may be at fault: it alone fails.
                for item in items:
                    await self._do(context, [item])
                return
            for item in items:
                item.done.set_exception(failure)
        else:
            for item in items:
                item.done.set_result(None)
