"""The lanes of this process: those of its shards that have something to do."""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy import text

from chassis.context import RequestContext
from chassis.database import Database, RoleDatabase
from chassis.errors import Unavailable
from chassis.logs import logger
from chassis.vault.vault import Vault
from services.webhooks.dispatch.due import due, put_off
from services.webhooks.dispatch.journal import Journal
from services.webhooks.dispatch.lane import Lane, Surroundings
from services.webhooks.dispatch.parcels import Entry, Parcel
from services.webhooks.dispatch.postman import Postman
from services.webhooks.dispatch.shards import Holding, shard_of
from services.webhooks.dispatch.targets import Targets
from services.webhooks.outbound.client import Client

# How long what is due waits at most until it is found.
INTERVAL = timedelta(seconds=1)
# What all lanes together have in memory; beyond it deliveries wait in the database.
_MOST_IN_HAND = 20_000
# A lane that has nothing to do keeps its connections for so long.
_KEPT_SECONDS = 60.0

# For the scheduler's role: one probe of an index for each endpoint that is enabled.
_WITH_SOMETHING_DUE = text("""
    SELECT organization_id, id FROM webhooks.endpoints AS endpoint
    WHERE enabled AND EXISTS (
        SELECT FROM webhooks.deliveries AS delivery
        WHERE delivery.organization_id = endpoint.organization_id AND delivery.endpoint_id = endpoint.id
          AND delivery.due_at <= now()
    ) AND NOT EXISTS (
        SELECT FROM webhooks.standstills AS said
        WHERE said.organization_id = endpoint.organization_id AND said.stands_still
    )
""")


class Dispatcher:
    """Posts what is due to the endpoints of this process' shards: every second, and at once where it is told of something new."""

    def __init__(
        self, database: Database, scheduler: RoleDatabase, shards: Holding, vault: Vault, client: Client
    ) -> None:
        self._database = database
        self._scheduler = scheduler
        self._shards = shards
        self._client = client
        self._journal = Journal(database, self._recorded)
        self._lanes: dict[UUID, Lane] = {}
        self._giving_up: set[int] = set()
        shards.give_up = self._give_up
        self._around = Surroundings(
            target=Targets(database, vault).target,
            due=self._due,
            record=self._journal.add,
            may_go=shards.holds,
            posting=lambda organization_id: Postman(organization_id, client),
        )

    async def run(self) -> None:
        """Run until cancelled; posts that are under way then end, and are written down."""
        try:
            while True:
                try:
                    await self.look()
                except Unavailable:
                    logger().warning("deliveries_wait", exc_info=True)
                await asyncio.sleep(INTERVAL.total_seconds())
        finally:
            await self.close()

    async def close(self) -> None:
        """Begin nothing more, leave the lanes to others, and write down what is under way."""
        await self._shards.leave()
        await asyncio.gather(*(lane.stop() for lane in self._lanes.values()))
        await self._journal.written()
        for lane in self._lanes.values():
            lane.close()

    async def look(self) -> None:
        """Have lanes look to which something is due, and forget those that have had nothing to do for a while."""
        async with self._scheduler.transaction() as connection:
            found = (await connection.execute(_WITH_SOMETHING_DUE)).all()
        for organization_id, endpoint_id in found:
            lane = self._lanes.get(endpoint_id)
            if lane is None or lane.is_idle:
                self.wake(organization_id, [endpoint_id])
            else:
                lane.look()
        self._forget_the_idle()

    def wake(self, organization_id: UUID, endpoint_ids: Collection[UUID]) -> None:
        """Have lanes look at what is due to them, and at their endpoint. Those of other processes find it by themselves."""
        for endpoint_id in endpoint_ids:
            if self._shards.holds(endpoint_id):
                self._lane(organization_id, endpoint_id).wake()

    def hand_over(self, organization_id: UUID, parcels: Mapping[UUID, Sequence[Parcel]]) -> None:
        """Give lanes what has just been written to the database, by endpoint, so that they need not read it."""
        room = _MOST_IN_HAND - sum(lane.in_hand for lane in self._lanes.values())
        for endpoint_id, fresh in parcels.items():
            if self._shards.holds(endpoint_id):
                self._lane(organization_id, endpoint_id).offer(fresh, room)
                room -= len(fresh)

    async def settled(self) -> None:
        """Return once nothing is in hand."""
        while any(not lane.is_idle for lane in self._lanes.values()):
            await self._journal.written()
            await asyncio.sleep(0.005)

    def _lane(self, organization_id: UUID, endpoint_id: UUID) -> Lane:
        lane = self._lanes.get(endpoint_id)
        if lane is None:
            lane = self._lanes[endpoint_id] = Lane(organization_id, endpoint_id, self._around)
        return lane

    def _forget_the_idle(self) -> None:
        clock = asyncio.get_running_loop().time()
        for endpoint_id, lane in list(self._lanes.items()):
            if lane.is_idle and clock - lane.worked_at > _KEPT_SECONDS:
                del self._lanes[endpoint_id]
                lane.close()

    async def _give_up(self, shards: Collection[int]) -> Collection[int]:
        """What is posted has until the next round to be written down; what takes longer is put off, so that others wait for nobody's answer."""
        begun = {
            endpoint_id: lane
            for endpoint_id, lane in self._lanes.items()
            if lane.has_begun and shard_of(endpoint_id) in shards
        }
        slow, self._giving_up = self._giving_up, set(map(shard_of, begun))
        await self._put_off([lane for endpoint_id, lane in begun.items() if shard_of(endpoint_id) in slow])
        return self._giving_up - slow

    async def _put_off(self, lanes: Sequence[Lane]) -> None:
        by_organization: dict[UUID, list[UUID]] = defaultdict(list)
        for lane in lanes:
            by_organization[lane.organization_id] += lane.begun
        for organization_id, delivery_ids in by_organization.items():
            async with self._database.tenant_transaction(_itself(organization_id)) as session:
                await put_off(session, delivery_ids)

    def _recorded(self, entries: Sequence[Entry], disabled: frozenset[UUID]) -> None:
        for entry in entries:
            self._lanes[entry.endpoint_id].recorded(entry.delivery_id)
        for endpoint_id in disabled:
            self._lanes[endpoint_id].disabled()

    async def _due(
        self, organization_id: UUID, endpoint_id: UUID, in_hand: Collection[UUID], most: int
    ) -> tuple[list[Parcel], bool]:
        async with self._database.tenant_transaction(_itself(organization_id)) as session:
            return await due(session, endpoint_id, in_hand, most)


def _itself(organization_id: UUID) -> RequestContext:
    return RequestContext.of_process("webhooks", organization_id)
