"""Decides on batches whose order was lost on its way: losing a stream costs time, not a message."""

from datetime import timedelta
from uuid import UUID

from chassis.context import RequestContext
from chassis.database import Database, RoleDatabase
from chassis.scheduler import Scheduler
from services.sending import message_figures
from services.sending.suppression.veto import BATCHES_WITHOUT_DECISION, decide

_INTERVAL = timedelta(seconds=30)


class Sweep:
    """Looks for batches that have waited for a decision too long."""

    def __init__(self, database: Database, scheduler: RoleDatabase) -> None:
        self._database = database
        self._scheduler = Scheduler(
            scheduler, BATCHES_WITHOUT_DECISION, _INTERVAL, self._decide, process="suppression"
        )

    async def run(self) -> None:
        """Run until cancelled."""
        await self._scheduler.run()

    async def round(self) -> int:
        """Decide on what has waited too long now; answers how many batches that was."""
        return await self._scheduler.round()

    async def _decide(self, context: RequestContext, batch_id: UUID) -> None:
        async with self._database.tenant_transaction(context) as session:
            decided = await decide(session, batch_id)
        message_figures.count("decided", decided)
