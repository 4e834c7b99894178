"""Looks after what no event tells of: lost orders, deferred messages that are due, and what dead processes held."""

import asyncio
from datetime import timedelta
from uuid import UUID

from chassis.context import RequestContext
from chassis.database import Database, RoleDatabase
from chassis.scheduler import Scheduler
from services.sending.batches import BATCHES_TO_DELIVER
from services.sending.delivery.leases import TOKENS_OF_THE_DEAD
from services.sending.delivery.outcomes import settle_abandoned
from services.sending.delivery.worker import Worker

_DUE_EVERY = timedelta(seconds=5)
_DEAD_EVERY = timedelta(seconds=3)


class Sweep:
    """Two rounds: batches that are due, and messages in the hands of nobody."""

    def __init__(self, database: Database, scheduler: RoleDatabase, worker: Worker) -> None:
        self._database = database
        self.due = Scheduler(scheduler, BATCHES_TO_DELIVER, _DUE_EVERY, worker.deliver, process="delivery")
        self.dead = Scheduler(scheduler, TOKENS_OF_THE_DEAD, _DEAD_EVERY, self._settle, process="delivery")

    async def run(self) -> None:
        """Run until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.due.run())
            group.create_task(self.dead.run())

    async def _settle(self, context: RequestContext, token: UUID) -> None:
        async with self._database.tenant_transaction(context) as session:
            await settle_abandoned(session, token)
