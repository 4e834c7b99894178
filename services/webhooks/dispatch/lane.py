"""A lane: all that goes to one endpoint. It waits for no other, and no other waits for it."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol
from uuid import UUID

from chassis.errors import Unavailable
from chassis.logs import logger
from services.webhooks.dispatch import figures
from services.webhooks.dispatch.parcels import Attempt, Entry, Parcel
from services.webhooks.dispatch.rate import Rate
from services.webhooks.dispatch.targets import Target, now
from services.webhooks.dispatch.verdicts import is_success, verdict
from services.webhooks.dispatch.width import Width

# What a lane has in hand at the most; the rest waits in the database.
MOST_IN_HAND = 256
# So long an endpoint is believed to be as it was read.
_READ_AGAIN_AFTER_SECONDS = 5.0
_AFTER_FAILURE_SECONDS = 1.0


class Posting(Protocol):
    """Posts to one endpoint, over connections of its own."""

    async def __call__(self, parcel: Parcel, target: Target) -> Attempt:
        """One attempt; whatever goes wrong is told in it."""

    def close(self) -> None:
        """Close what is open."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a lane asks of the process around it."""

    target: Callable[[UUID, UUID], Awaitable[Target | None]]
    due: Callable[[UUID, UUID, Collection[UUID], int], Awaitable[tuple[list[Parcel], bool]]]
    record: Callable[[UUID, Entry], None]
    may_go: Callable[[UUID], bool]
    posting: Callable[[UUID], Posting]


@dataclass(slots=True)
class _Moment:
    """Something has happened that the lane looks at."""

    event: asyncio.Event = field(default_factory=asyncio.Event)

    async def within(self, seconds: float | None) -> None:
        if seconds is None:
            await self.event.wait()
        else:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self.event.wait()
        self.event.clear()


class Lane:
    """Of one endpoint. It works while there is something to do, and rests until it is woken."""

    def __init__(self, organization_id: UUID, endpoint_id: UUID, around: Surroundings) -> None:
        self.organization_id = organization_id
        self.endpoint_id = endpoint_id
        self._around = around
        self._posting = around.posting(organization_id)
        self._target: Target | None = None
        self._read_at = -1.0
        self._waiting: deque[Parcel] = deque()
        # From when they are in the lane until they are written down.
        self._in_hand: set[UUID] = set()
        self._under_way: set[asyncio.Task[None]] = set()
        self._width = Width()
        self._rate = Rate(None)
        # There may be more in the database than is in hand.
        self._look = False
        self._moment = _Moment()
        self._work: asyncio.Task[None] | None = None
        self.worked_at = asyncio.get_running_loop().time()

    @property
    def is_idle(self) -> bool:
        """Whether it has nothing in hand."""
        return self._work is None and not self._in_hand

    @property
    def has_begun(self) -> bool:
        """Whether something was posted of which nothing is written down yet."""
        return len(self._in_hand) > len(self._waiting)

    @property
    def begun(self) -> set[UUID]:
        """The deliveries that were posted and are not written down."""
        return self._in_hand - {parcel.delivery_id for parcel in self._waiting}

    @property
    def in_hand(self) -> int:
        """How many deliveries it has in memory."""
        return len(self._in_hand)

    def offer(self, parcels: Iterable[Parcel], room: int) -> None:
        """Take new deliveries that are in the database already, as far as there is room; the others are read when it is their turn."""
        room = min(room, MOST_IN_HAND - len(self._in_hand))
        for parcel in parcels:
            if self._look or room <= 0:
                self._look = True
                break
            room -= 1
            self._take(parcel)
        self._begin()

    def wake(self) -> None:
        """Look at what is due to the endpoint, and whether it is as it was."""
        self._read_at = -1.0
        self.look()

    def look(self) -> None:
        """Look at what is due to the endpoint: other processes write to it as well."""
        self._look = True
        self._begin()

    def recorded(self, delivery_id: UUID) -> None:
        """An attempt is written down."""
        self._in_hand.discard(delivery_id)
        self._moment.event.set()

    def disabled(self) -> None:
        """The endpoint gets no more posts."""
        self._read_at = -1.0

    async def stop(self) -> None:
        """Begin nothing more, and return when what is under way has ended."""
        while self._work is not None:
            self._work.cancel()
            await asyncio.gather(self._work, return_exceptions=True)
        self._let_go()
        if self._under_way:
            await asyncio.gather(*self._under_way, return_exceptions=True)

    def close(self) -> None:
        """Close its connections."""
        self._posting.close()

    def _begin(self) -> None:
        self.worked_at = asyncio.get_running_loop().time()
        self._moment.event.set()
        if self._work is None:
            self._work = asyncio.create_task(self._work_on())
            self._work.add_done_callback(self._ended)

    def _ended(self, work: asyncio.Task[None]) -> None:
        self._work = None
        if work.cancelled():
            return
        if (error := work.exception()) is not None:
            logger().error("lane_failed", endpoint_id=str(self.endpoint_id), exc_info=error)
            self._let_go()
        elif self._waiting or self._look:
            # It came after the work had found nothing left, and before it was over.
            self._begin()

    async def _work_on(self) -> None:
        """Until there is nothing left to do, or it may not go on; what is left then is found in the database."""
        while self._around.may_go(self.endpoint_id):
            try:
                target = await self._current()
                if target is None or not target.enabled:
                    # It may be there, or enabled, as soon as somebody commits.
                    self._read_at = -1.0
                    return self._let_go()
                if target.rests(now()):
                    # The look of each second wakes it again.
                    return self._let_go()
                await self._read_on()
            except Unavailable:
                await asyncio.sleep(_AFTER_FAILURE_SECONDS)
                continue
            if not self._around.may_go(self.endpoint_id):
                # It was given up while something was read.
                continue
            seconds = self._start_what_may_go(target)
            if not self._in_hand and not self._look:
                return None
            await self._moment.within(seconds)
        return self._let_go()

    async def _current(self) -> Target | None:
        clock = asyncio.get_running_loop().time()
        if self._read_at < 0 or clock - self._read_at > _READ_AGAIN_AFTER_SECONDS:
            self._read_at = clock
            before, self._target = (
                self._target,
                await self._around.target(self.organization_id, self.endpoint_id),
            )
            limit = self._target.rate_limit if self._target else None
            if limit != self._rate.limit:
                self._rate = Rate(limit)
            if before and self._target and before.url != self._target.url:
                self._posting.close()
        return self._target

    async def _read_on(self) -> None:
        """Read what is due, when less waits than could go at once."""
        if not self._look or len(self._waiting) >= self._width.posts:
            return
        most = min(MOST_IN_HAND - len(self._in_hand), max(8, 4 * self._width.posts))
        if most <= 0:
            return
        self._look = False
        parcels, more = await self._around.due(self.organization_id, self.endpoint_id, self._in_hand, most)
        self._look = self._look or more
        for parcel in parcels:
            self._take(parcel)

    def _take(self, parcel: Parcel) -> None:
        if parcel.delivery_id not in self._in_hand:
            self._in_hand.add(parcel.delivery_id)
            self._waiting.append(parcel)

    def _start_what_may_go(self, target: Target) -> float | None:
        """Post as many as the endpoint takes; answers after how many seconds the next may go, where its rate is what stands against it."""
        while self._waiting and len(self._under_way) < self._width.posts:
            if not self._rate.take():
                return self._rate.wait()
            parcel = self._waiting.popleft()
            task = asyncio.create_task(self._post(parcel, target))
            self._under_way.add(task)
            task.add_done_callback(partial(self._posted, parcel.delivery_id))
        return None

    def _posted(self, delivery_id: UUID, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        self._moment.event.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            logger().error("post_failed", delivery_id=str(delivery_id), exc_info=error)
            self._in_hand.discard(delivery_id)

    async def _post(self, parcel: Parcel, target: Target) -> None:
        attempt = await self._posting(parcel, target)
        figures.count(parcel, attempt)
        if is_success(attempt.status_code):
            self._width.answered_well()
        else:
            self._width.failed()
        means = verdict(
            status_code=attempt.status_code,
            retry_after=attempt.retry_after,
            scheduled=parcel.scheduled,
            now=now(),
        )
        if means.endpoint_rests and self._target is not None:
            self._target = replace(self._target, paused_until=means.due_at)
        self._around.record(self.organization_id, Entry(self.endpoint_id, parcel.delivery_id, attempt, means))

    def _let_go(self) -> None:
        """Leave to the database what is not under way."""
        self._in_hand.difference_update(parcel.delivery_id for parcel in self._waiting)
        self._waiting.clear()
        self._look = False
