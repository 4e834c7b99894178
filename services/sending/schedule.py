"""Starts scheduled campaigns when their time has come; one that passed while nobody looked starts at once."""

from datetime import timedelta
from uuid import UUID

from sqlalchemy import text

from chassis.context import RequestContext
from chassis.database import Database, RoleDatabase
from chassis.scheduler import Scheduler
from services.sending.campaigns import start_campaign
from services.sending.fan_out import FanOut

_EVERY = timedelta(seconds=1)

# For the scheduler's role.
_CAMPAIGNS_TO_START = text("""
    SELECT organization_id, id FROM sending.campaigns
    WHERE status = 'scheduled' AND send_at <= now() ORDER BY send_at LIMIT 256
""")


class Schedule:
    """Looks for campaigns whose time has come, in any organization."""

    def __init__(self, database: Database, scheduler: RoleDatabase, fan_out: FanOut) -> None:
        self._database = database
        self._fan_out = fan_out
        self._scheduler = Scheduler(scheduler, _CAMPAIGNS_TO_START, _EVERY, self._start, process="sending")

    async def run(self) -> None:
        """Run until cancelled."""
        await self._scheduler.run()

    async def round(self) -> int:
        """Start what is due now; answers how many campaigns that were."""
        return await self._scheduler.round()

    async def _start(self, context: RequestContext, campaign_id: UUID) -> None:
        async with self._database.tenant_transaction(context) as session:
            await start_campaign(session, campaign_id)
        self._fan_out.launched(context, campaign_id)
