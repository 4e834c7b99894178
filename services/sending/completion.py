"""Completes campaigns: soon after their last message is settled, and in any case at the next sweep."""

from datetime import timedelta
from uuid import UUID

from chassis.context import RequestContext
from chassis.database import Database, RoleDatabase
from chassis.scheduler import Scheduler
from services.sending.accounting import CAMPAIGNS_THAT_MAY_BE_COMPLETE, complete_if_settled

_SWEEP = timedelta(seconds=3)


class Completion:
    """Looks after campaigns whose last event was lost, or whose audience was empty."""

    def __init__(self, database: Database, scheduler: RoleDatabase) -> None:
        self._database = database
        self._scheduler = Scheduler(
            scheduler, CAMPAIGNS_THAT_MAY_BE_COMPLETE, _SWEEP, self._complete, process="sending"
        )

    async def run(self) -> None:
        """Run until cancelled."""
        await self._scheduler.run()

    async def round(self) -> int:
        """Look once at every campaign that may be complete; answers how many there were."""
        return await self._scheduler.round()

    async def _complete(self, context: RequestContext, campaign_id: UUID) -> None:
        async with self._database.tenant_transaction(context) as session:
            await complete_if_settled(session, campaign_id)
