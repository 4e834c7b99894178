"""Looks after what no event tells of: lost orders, deferred messages that are due, and what dead processes held."""

import asyncio
from contextlib import suppress
from datetime import timedelta
from uuid import UUID

from chassis.context import RequestContext
from chassis.database import Database, RoleDatabase
from chassis.scheduler import Periodic, Scheduler
from services.sending import message_figures
from services.sending.batches import BATCHES_TO_DELIVER, close_batches
from services.sending.delivery.leases import TOKENS_OF_THE_DEAD, Lease, leased_with
from services.sending.delivery.outcomes import settle_abandoned
from services.sending.delivery.smtp.pool import NoAnswer
from services.sending.delivery.worker import Worker
from services.sending.statuses import MessageStatus

_DUE_EVERY = timedelta(seconds=2)
_DEAD_EVERY = timedelta(seconds=3)
_LOST_EVERY = timedelta(seconds=10)


class Sweep:
    """Three rounds: batches that are due, those in the hands of nobody, and those that this process does not know it has."""

    def __init__(self, database: Database, scheduler: RoleDatabase, worker: Worker, lease: Lease) -> None:
        self._database = database
        self._scheduler = scheduler
        self._lease = lease
        self._worker = worker
        self.due = Scheduler(scheduler, BATCHES_TO_DELIVER, _DUE_EVERY, self._deliver, process="delivery")
        self.dead = Scheduler(scheduler, TOKENS_OF_THE_DEAD, _DEAD_EVERY, self._settle, process="delivery")

    async def run(self) -> None:
        """Run until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.due.run())
            group.create_task(self.dead.run())
            group.create_task(Periodic(_LOST_EVERY, self.give_back_lost).run())

    async def give_back_lost(self) -> None:
        """Give back what was claimed by a commit whose answer was lost: nothing of it was begun."""
        token = self._lease.token
        if token is None:
            return
        for organization, batch_id in await leased_with(self._scheduler, token):
            with self._lease.in_hand([batch_id]) as lost:
                if lost:
                    context = RequestContext.of_process("delivery", organization)
                    async with self._database.tenant_transaction(context) as session:
                        await close_batches(session, [batch_id], token)

    async def _deliver(self, context: RequestContext, batch_id: UUID) -> None:
        # A relay that does not answer has said so in the batch, which is due again later.
        with suppress(NoAnswer):
            await self._worker.deliver(context, batch_id)

    async def _settle(self, context: RequestContext, token: UUID) -> None:
        async with self._database.tenant_transaction(context) as session:
            indeterminate = await settle_abandoned(session, token)
        message_figures.count("settled", {MessageStatus.INDETERMINATE.value: indeterminate})
