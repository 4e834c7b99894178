"""Which endpoints are this process' own: each belongs to one of 64 shards, and a shard to the process that holds its lease.

Processes that live share the shards out by rendezvous hashing, so that one that comes or goes moves its own share alone. A lease keeps
two from posting to one endpoint at a time; should it fail to, an event arrives twice, which receivers know by its id.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from datetime import timedelta
from hashlib import blake2b
from time import monotonic
from typing import Protocol, Self, TypeAlias
from uuid import UUID, uuid4

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.database import RoleDatabase
from chassis.errors import Unavailable
from chassis.logs import logger

SHARDS = 64

_DURATION = timedelta(seconds=10)
_RENEWED_EVERY_SECONDS = 2.5
# Before the lease ends for the database it ends for its holder.
_MARGIN_SECONDS = 2.0

_LIVE = text("""
    WITH gone AS (
        DELETE FROM webhooks.dispatchers WHERE seen_at < clock_timestamp() - CAST(:duration AS interval)
    ), here AS (
        INSERT INTO webhooks.dispatchers (id, seen_at) VALUES (:id, clock_timestamp())
        ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at
    )
    SELECT id FROM webhooks.dispatchers WHERE seen_at >= clock_timestamp() - CAST(:duration AS interval)
""")
_GIVE_BACK = text(
    "DELETE FROM webhooks.lane_leases WHERE holder = :id AND shard <> ALL(CAST(:kept AS integer[]))"
)
_TAKE = text("""
    INSERT INTO webhooks.lane_leases AS lease (shard, holder, expires_at)
    SELECT shard, :id, clock_timestamp() + CAST(:duration AS interval)
    FROM unnest(CAST(:shards AS integer[])) AS wanted (shard) ORDER BY shard
    ON CONFLICT (shard) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at
    WHERE lease.holder = excluded.holder OR lease.expires_at < clock_timestamp()
    RETURNING shard
""")
_LEAVE = text("DELETE FROM webhooks.dispatchers WHERE id = :id")


def shard_of(endpoint_id: UUID) -> int:
    """The shard that an endpoint belongs to, by the random end of its id."""
    return endpoint_id.int % SHARDS


# Asked about shards that are another's by now; answers those that are not to be given back in this round.
GiveUp: TypeAlias = Callable[[Collection[int]], Awaitable[Collection[int]]]


class Holding(Protocol):
    """What a dispatcher asks before each post, and is asked by."""

    give_up: GiveUp

    def holds(self, endpoint_id: UUID) -> bool:
        """Whether an endpoint is this process' own now."""
        ...

    async def leave(self) -> None:
        """Hold nothing any more, and give everything back as soon as that may be."""


class Shards:
    """Held from entering to leaving."""

    def __init__(self, scheduler: RoleDatabase) -> None:
        self._scheduler = scheduler
        self._id = uuid4()
        self._leased: frozenset[int] = frozenset()
        self._held: frozenset[int] = frozenset()
        self._good_until = 0.0
        self._leaving = False
        self._one_at_a_time = asyncio.Lock()
        self.give_up: GiveUp = _at_once

    async def __aenter__(self) -> Self:
        await self.round()
        self._rounds = asyncio.create_task(self._renew_forever())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._rounds.cancel()
        await asyncio.gather(self._rounds, return_exceptions=True)
        self._held = frozenset()
        try:
            async with self._scheduler.transaction() as connection:
                await connection.execute(_GIVE_BACK, {"id": self._id, "kept": []})
                await connection.execute(_LEAVE, {"id": self._id})
        except Unavailable:
            # They run out by themselves.
            logger().warning("shards_not_given_back")

    @property
    def held(self) -> frozenset[int]:
        """Those that are this process' own now; none when the lease has run out."""
        return self._held if monotonic() < self._good_until else frozenset()

    def holds(self, endpoint_id: UUID) -> bool:
        """Whether an endpoint is this process' own now."""
        return shard_of(endpoint_id) in self._held and monotonic() < self._good_until

    async def leave(self) -> None:
        """Hold nothing any more, and give everything back as soon as that may be."""
        self._leaving = True
        try:
            await self.round()
        except Unavailable:
            logger().warning("shards_not_given_back")

    async def round(self) -> None:
        """Renew what is ours, give back what is another's by now, take what is ours by now."""
        async with self._one_at_a_time, self._scheduler.transaction() as connection:
            begun = monotonic()
            ours = await self._ours(connection)
            # From here on nothing new begins in the others.
            self._held &= ours
            kept = sorted(ours | set(await self.give_up(self._leased - ours)))
            await connection.execute(_GIVE_BACK, {"id": self._id, "kept": kept})
            given = {"id": self._id, "shards": kept, "duration": _DURATION}
            leased = frozenset((await connection.execute(_TAKE, given)).scalars())
        self._leased, self._held = leased, leased & ours
        self._good_until = begun + _DURATION.total_seconds() - _MARGIN_SECONDS

    async def _ours(self, connection: AsyncConnection) -> frozenset[int]:
        if self._leaving:
            await connection.execute(_LEAVE, {"id": self._id})
            return frozenset()
        live = await connection.execute(_LIVE, {"id": self._id, "duration": _DURATION})
        return _share(self._id, {*live.scalars(), self._id})

    async def _renew_forever(self) -> None:
        while True:
            await asyncio.sleep(_RENEWED_EVERY_SECONDS)
            try:
                await self.round()
            except Exception:
                # Until it succeeds the lease runs out by itself, and nothing is posted without one.
                logger().warning("shards_not_renewed", exc_info=True)


def _share(me: UUID, live: Collection[UUID]) -> frozenset[int]:
    """The shards for which nobody who lives has a higher hash."""
    return frozenset(shard for shard in range(SHARDS) if max(live, key=lambda each: _rank(each, shard)) == me)


def _rank(dispatcher: UUID, shard: int) -> bytes:
    return blake2b(dispatcher.bytes + shard.to_bytes(2, "big"), digest_size=8).digest()


async def _at_once(shards: Collection[int]) -> Collection[int]:
    return ()
