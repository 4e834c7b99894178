"""Carries replays out, in any organization, beside everything else."""

from datetime import timedelta
from uuid import UUID

from sqlalchemy import text

from chassis.context import RequestContext
from chassis.database import Database, RoleDatabase
from chassis.scheduler import Scheduler
from services.webhooks.replays import replay_piece
from services.webhooks.waking import Wake

_INTERVAL = timedelta(seconds=1)
# For the scheduler's role: those that nobody works on, those that waited longest first.
_TO_GO_ON_WITH = text("""
    SELECT organization_id, id FROM webhooks.replays
    WHERE status = 'running' AND (lease_until IS NULL OR lease_until <= now())
    ORDER BY lease_until NULLS FIRST, id LIMIT 8
""")


class ReplayRunner:
    """Begins the deliveries of replays, a piece at a time, and wakes their lanes."""

    def __init__(self, database: Database, scheduler: RoleDatabase, wake: Wake) -> None:
        self._database = database
        self._wake = wake
        self._scheduler = Scheduler(scheduler, _TO_GO_ON_WITH, _INTERVAL, self.carry_out, process="webhooks")

    async def run(self) -> None:
        """Run until cancelled."""
        await self._scheduler.run()

    async def carry_out(self, context: RequestContext, replay_id: UUID) -> None:
        """Go on with a replay to its end; nothing happens if somebody else does."""
        while True:
            async with self._database.tenant_transaction(context) as session:
                endpoint_id = await replay_piece(session, replay_id)
            if endpoint_id is None:
                return
            self._wake(context.organization, [endpoint_id])
