"""Single messages of one organization that come while others of it are under way go together: one claim, one connection, one result.

Whoever comes alone goes at once. So nothing waits on a quiet day, and on a busy one a thousand messages cost little more than ten.
"""

import asyncio
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from uuid import UUID

from chassis.context import RequestContext

# Of one organization: the next group waits until one of these has been given back.
GROUPS_UNDER_WAY = 8
# As many as a batch of a campaign has.
MOST_MESSAGES = 250


@dataclass(slots=True)
class _Group:
    context: RequestContext
    batch_ids: list[UUID] = field(default_factory=list)
    messages: int = 0
    done: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def has_room_for(self, messages: int) -> bool:
        return not self.batch_ids or self.messages + messages <= MOST_MESSAGES

    def add(self, batch_id: UUID, messages: int) -> None:
        self.batch_ids.append(batch_id)
        self.messages += messages


class Gathering:
    """Gives `deliver` the batches that wait, some at a time."""

    def __init__(self, deliver: Callable[..., Awaitable[None]]) -> None:
        self._deliver = deliver
        self._waiting: dict[UUID, deque[_Group]] = defaultdict(deque)
        self._under_way: Counter[UUID] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()

    async def deliver(self, context: RequestContext, batch_id: UUID, messages: int) -> None:
        """Have a batch of so many messages delivered with others; returns, or raises, as that ends."""
        group = self._group_for(context, messages)
        group.add(batch_id, messages)
        self._begin(context.organization)
        await asyncio.shield(group.done)

    def _group_for(self, context: RequestContext, messages: int) -> _Group:
        waiting = self._waiting[context.organization]
        if not waiting or not waiting[-1].has_room_for(messages):
            waiting.append(_Group(context))
        return waiting[-1]

    def _begin(self, organization: UUID) -> None:
        if self._under_way[organization] < GROUPS_UNDER_WAY and self._waiting[organization]:
            self._under_way[organization] += 1
            task = asyncio.create_task(self._go(organization, self._waiting[organization].popleft()))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _go(self, organization: UUID, group: _Group) -> None:
        try:
            await self._deliver(group.context, *group.batch_ids)
        except Exception as failure:
            group.done.set_exception(failure)
        else:
            group.done.set_result(None)
        finally:
            self._end(organization)

    def _end(self, organization: UUID) -> None:
        self._under_way[organization] -= 1
        self._begin(organization)
        if not self._under_way[organization]:
            del self._under_way[organization], self._waiting[organization]
