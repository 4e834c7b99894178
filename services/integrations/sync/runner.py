"""What is due in any organization, a few at a time: each organization's first comes before another's second."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from sqlalchemy import text

from chassis.context import RequestContext
from chassis.database import RoleDatabase
from chassis.errors import Unavailable
from chassis.logs import logger
from services.integrations.sync.figures import TURNS

# Most of a turn is waiting for a CRM.
_AT_A_TIME = 8
_OF_AN_ORGANIZATION = 3
_POLL_SECONDS = 2.0

# For the scheduler's role: syncs that nobody works on, and connections that have none and are due; of CRMs that this process knows.
_TO_GO_ON_WITH = text("""
    WITH known AS NOT MATERIALIZED (
        SELECT organization_id, id AS connection_id FROM integrations.connections
        WHERE provider = ANY(:providers) AND id <> ALL(CAST(:in_hand AS uuid[]))
    ), waiting AS (
        (
            SELECT organization_id, connection_id, lease_until AS since
            FROM integrations.syncs JOIN known USING (organization_id, connection_id)
            WHERE status IN ('pending', 'running', 'waiting') AND lease_until <= now()
            ORDER BY lease_until LIMIT 1000
        ) UNION ALL (
            SELECT organization_id, connection_id, due_at
            FROM integrations.sync_positions AS position JOIN known USING (organization_id, connection_id)
            WHERE due_at <= now() AND NOT EXISTS (
                SELECT FROM integrations.syncs AS sync
                WHERE sync.organization_id = position.organization_id AND sync.connection_id = position.connection_id
                  AND sync.status IN ('pending', 'running', 'waiting')
            )
            ORDER BY due_at LIMIT 1000
        )
    )
    SELECT organization_id, connection_id FROM waiting
    ORDER BY row_number() OVER (PARTITION BY organization_id ORDER BY since), since LIMIT :most
""")


class TurnTaker(Protocol):
    """Who takes a turn, of whatever of a connection is to be done."""

    async def take(self, context: RequestContext, connection_id: UUID) -> None:
        """Cancelled, it leaves the rest to others."""


class Runner:
    """Runs syncs of these CRMs; `wake` tells it that there is one."""

    def __init__(self, scheduler: RoleDatabase, turns: TurnTaker, providers: Sequence[str]) -> None:
        self.wake = asyncio.Event()
        self._scheduler = scheduler
        self._turns = turns
        self._providers = providers
        # By connection, with the organization.
        self._under_way: dict[UUID, tuple[UUID, asyncio.Task[None]]] = {}

    async def run(self) -> None:
        """Run until cancelled; what is under way then is left to others at once."""
        try:
            while True:
                self.wake.clear()
                try:
                    await self.look()
                except Unavailable:
                    logger().warning("syncs_wait", exc_info=True)
                await self._rest()
        finally:
            await self.stop()

    async def stop(self) -> None:
        """Cut off what is under way; the next one goes on behind the last step."""
        tasks = [turn for _, turn in self._under_way.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def look(self) -> None:
        """Begin turns, as far as there is room."""
        if len(self._under_way) >= _AT_A_TIME:
            return
        asked = {"providers": list(self._providers), "in_hand": list(self._under_way), "most": _AT_A_TIME * 4}
        async with self._scheduler.transaction() as connection:
            found = (await connection.execute(_TO_GO_ON_WITH, asked)).all()
        busy = Counter(organization_id for organization_id, _ in self._under_way.values())
        for organization_id, connection_id in found:
            if len(self._under_way) < _AT_A_TIME and busy[organization_id] < _OF_AN_ORGANIZATION:
                busy[organization_id] += 1
                self._begin(organization_id, connection_id)

    def _begin(self, organization_id: UUID, connection_id: UUID) -> None:
        turn = asyncio.create_task(self._take(organization_id, connection_id))
        self._under_way[connection_id] = organization_id, turn

    async def _take(self, organization_id: UUID, connection_id: UUID) -> None:
        try:
            await self._turns.take(RequestContext.of_process("integrations", organization_id), connection_id)
        except Unavailable:
            TURNS.labels("waiting").inc()
            logger().warning("sync_waits", connection_id=str(connection_id), exc_info=True)
        except Exception as error:
            TURNS.labels("failed").inc()
            logger().error("turn_failed", connection_id=str(connection_id), error=type(error).__name__)
        else:
            TURNS.labels("done").inc()
            # There is room again, and there may be more to do.
            self.wake.set()
        finally:
            del self._under_way[connection_id]

    async def _rest(self) -> None:
        try:
            async with asyncio.timeout(_POLL_SECONDS):
                await self.wake.wait()
        except TimeoutError:
            return
