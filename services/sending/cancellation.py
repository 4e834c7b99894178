"""What a cancelled campaign leaves behind: what has not gone out is vetoed and given back to the plan, some batches at a time.

Each time is a transaction, so that a crash loses nothing and a large campaign holds nobody up.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy import func, text, update

from chassis.context import RequestContext
from chassis.database import Database, RoleDatabase, TenantSession
from chassis.scheduler import Scheduler
from services.sending import usage
from services.sending.accounting import nothing_is_open
from services.sending.batches import settle_free
from services.sending.statuses import CampaignStatus, SuppressionReason
from services.sending.suppression.veto import Veto, announce_vetoes
from services.sending.tables import campaigns

_EVERY = timedelta(seconds=1)
_BATCHES_AT_ONCE = 20
_VETOES_IN_AN_EVENT = 1_000

# For the scheduler's role. In no order, so that many that wait for what is in hand keep no other waiting.
_CAMPAIGNS_BEING_CANCELLED = text("""
    SELECT organization_id, id FROM sending.campaigns WHERE status = 'cancelled' AND NOT audience_complete
    ORDER BY random() LIMIT 16
""")
# What somebody has in hand at this moment is left to them.
_OPEN = text("""
    SELECT id FROM batches
    WHERE campaign_id = :campaign_id AND status <> 'settled' AND lease_token IS NULL AND id > :after
    ORDER BY id LIMIT :size FOR UPDATE SKIP LOCKED
""")
_VETO = text("""
    UPDATE messages
    SET status = 'vetoed', veto_reason = 'cancelled', next_attempt_at = NULL, settled_at = now(), merge_fields = NULL
    WHERE batch_id = ANY(:batch_ids) AND status IN ('queued', 'deferred')
    RETURNING id, batch_id, contact_id
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
        after: UUID | None = UUID(int=0)
        while after is not None:
            async with self._database.tenant_transaction(context) as session:
                after = await _veto_some(session, campaign_id, after)
        async with self._database.tenant_transaction(context) as session:
            await _complete_if_settled(session, campaign_id)


async def _veto_some(session: TenantSession, campaign_id: UUID, after: UUID) -> UUID | None:
    """Veto what is left in some batches behind that one; answers the last of them, None when there were none."""
    found = await session.execute(
        _OPEN, {"campaign_id": campaign_id, "after": after, "size": _BATCHES_AT_ONCE}
    )
    batch_ids: Sequence[UUID] = found.scalars().all()
    if not batch_ids:
        return None
    vetoed = (await session.execute(_VETO, {"batch_ids": batch_ids})).all()
    await settle_free(session, batch_ids)
    await usage.give_back_all(session, Counter(row.batch_id for row in vetoed))
    vetoes = [Veto(row.id, row.contact_id, SuppressionReason.CANCELLED) for row in vetoed]
    for told in range(0, len(vetoes), _VETOES_IN_AN_EVENT):
        announce_vetoes(session, campaign_id, vetoes[told : told + _VETOES_IN_AN_EVENT])
    return batch_ids[-1]


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
