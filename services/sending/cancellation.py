"""What a cancelled campaign leaves behind: batch by batch, what has not gone out is vetoed and given back to the plan.

A batch is a transaction, so that a crash loses nothing and a large campaign holds nobody up.
"""

from datetime import timedelta
from uuid import UUID

from sqlalchemy import func, select, text, update

from chassis.context import RequestContext
from chassis.database import Database, RoleDatabase, TenantSession
from chassis.scheduler import Scheduler
from services.sending import usage
from services.sending.accounting import nothing_is_open
from services.sending.batches import close_batch
from services.sending.statuses import BatchStatus, CampaignStatus, SuppressionReason
from services.sending.suppression.veto import Veto, announce_vetoes
from services.sending.tables import batches, campaigns

_EVERY = timedelta(seconds=2)

# For the scheduler's role.
_CAMPAIGNS_BEING_CANCELLED = text("""
    SELECT organization_id, id FROM sending.campaigns WHERE status = 'cancelled' AND NOT audience_complete LIMIT 16
""")
_VETO = text("""
    WITH vetoed AS (
        UPDATE messages
        SET status = 'vetoed', veto_reason = 'cancelled', next_attempt_at = NULL, settled_at = now(),
            merge_fields = NULL
        WHERE batch_id = :batch_id AND status IN ('queued', 'approved', 'deferred')
        RETURNING id, contact_id
    ), noted AS (
        INSERT INTO message_events (message_id, status, detail) SELECT id, 'vetoed', 'cancelled' FROM vetoed
    )
    SELECT * FROM vetoed
""")


class Cancellation:
    """Looks after campaigns that were cancelled until nothing of them is open."""

    def __init__(self, database: Database, scheduler: RoleDatabase) -> None:
        self._database = database
        self._scheduler = Scheduler(
            scheduler, _CAMPAIGNS_BEING_CANCELLED, _EVERY, self._end, process="sending"
        )

    async def run(self) -> None:
        """Run until cancelled."""
        await self._scheduler.run()

    async def round(self) -> int:
        """Veto what is left of cancelled campaigns now; answers how many campaigns that were."""
        return await self._scheduler.round()

    async def _end(self, context: RequestContext, campaign_id: UUID) -> None:
        async with self._database.tenant_transaction(context, read_only=True) as session:
            left = await _open_batches(session, campaign_id)
        for batch_id in left:
            async with self._database.tenant_transaction(context) as session:
                await _veto_rest(session, campaign_id, batch_id)
        async with self._database.tenant_transaction(context) as session:
            await _complete_if_settled(session, campaign_id)


async def _open_batches(session: TenantSession, campaign_id: UUID) -> list[UUID]:
    found = await session.execute(
        select(batches.c.id).where(
            batches.c.campaign_id == campaign_id, batches.c.status != BatchStatus.SETTLED.value
        )
    )
    return list(found.scalars())


async def _veto_rest(session: TenantSession, campaign_id: UUID, batch_id: UUID) -> None:
    vetoed = (await session.execute(_VETO, {"batch_id": batch_id})).all()
    # One that still waits for its decision is closed by that.
    await close_batch(session, batch_id)
    await usage.give_back(session, batch_id, len(vetoed))
    if vetoed:
        vetoes = [Veto(row.id, row.contact_id, SuppressionReason.CANCELLED) for row in vetoed]
        announce_vetoes(session, campaign_id, vetoes)


async def _complete_if_settled(session: TenantSession, campaign_id: UUID) -> None:
    """What a connection still has in its hands is waited for: the next round comes."""
    await session.execute(
        update(campaigns)
        .where(
            campaigns.c.id == campaign_id,
            campaigns.c.status == CampaignStatus.CANCELLED.value,
            nothing_is_open(),
        )
        .values(audience_complete=True, completed_at=func.clock_timestamp())
    )
