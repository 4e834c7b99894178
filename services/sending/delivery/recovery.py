"""What a delivery process that was killed had begun, as its journal tells whoever comes after it on the same machine."""

from collections import Counter
from datetime import timedelta
from pathlib import Path
from uuid import UUID

from chassis.context import RequestContext
from chassis.database import Database, RoleDatabase
from chassis.logs import logger
from chassis.scheduler import Periodic
from services.sending import message_figures
from services.sending.batches import close_batches, look_at_once
from services.sending.delivery.claims import claimed_before
from services.sending.delivery.journal import Remains, left_behind
from services.sending.delivery.leases import declare_dead, leased_with
from services.sending.delivery.outcomes import Result, in_doubt, write_results

_EVERY = timedelta(seconds=2)


class Recovery:
    """Settles what was answered as it was answered, what was being said as in doubt, and lets the rest be claimed anew."""

    def __init__(self, database: Database, scheduler: RoleDatabase, folder: Path) -> None:
        self._database = database
        self._scheduler = scheduler
        self._folder = folder
        self._periodic = Periodic(_EVERY, self.round)

    async def run(self) -> None:
        """Run until cancelled, for the processes beside this one."""
        await self._periodic.run()

    async def round(self) -> None:
        """Settle what has been left behind until now. Raises Unavailable; the next round finds it again."""
        for remains in left_behind(self._folder):
            for organization, batch_id in await leased_with(self._scheduler, remains.token):
                context = RequestContext.of_process("delivery", organization)
                await self._settle(context, batch_id, remains)
            await declare_dead(self._scheduler, remains.token)
            logger().info("remains_settled", begun=len(remains.begun))

    async def _settle(self, context: RequestContext, batch_id: UUID, remains: Remains) -> None:
        async with self._database.tenant_transaction(context) as session:
            begun = await claimed_before(session, batch_id, remains.token, remains.begun.keys())
            results = [
                Result(message, remains.begun[message.id] or in_doubt(message, "its process was killed"))
                for message in begun
            ]
            written = await write_results(session, results)
            await close_batches(session, [batch_id], remains.token)
            await look_at_once(session, [batch_id])
        message_figures.count("settled", Counter(result.verdict.status.value for result in written))
