"""Looks at the reputation of whoever is sending, pauses their campaigns when it is at risk, and tells of it."""

from datetime import timedelta

from sqlalchemy import text

from chassis.context import RequestContext
from chassis.database import Database, RoleDatabase, TenantSession
from chassis.logs import logger
from chassis.scheduler import Scheduler
from flownurture.sending.v1.campaigns_pb2 import PauseReason as ReasonMessage
from flownurture.sending.v1.events_pb2 import CampaignsPaused
from services.sending.campaigns import pause_all
from services.sending.reputation import reputation_of, thresholds

_EVERY = timedelta(seconds=10)
# For the scheduler's role.
_WHO_IS_SENDING = text("""
    SELECT DISTINCT organization_id, organization_id AS id FROM sending.campaigns WHERE status = 'sending' LIMIT 4096
""")


class ReputationWatch:
    """Watches the organizations that are sending a campaign."""

    def __init__(self, database: Database, scheduler: RoleDatabase) -> None:
        self._database = database
        self._scheduler = Scheduler(scheduler, _WHO_IS_SENDING, _EVERY, self._look_at, process="sending")

    async def run(self) -> None:
        """Run until cancelled."""
        await self._scheduler.run()

    async def round(self) -> int:
        """Look at whoever is sending now; answers how many organizations that were."""
        return await self._scheduler.round()

    async def _look_at(self, context: RequestContext, _: object) -> None:
        async with self._database.tenant_transaction(context) as session:
            await pause_when_at_risk(session)


async def pause_when_at_risk(session: TenantSession) -> None:
    """Pause what the organization is sending when its reputation is at risk and no operator has overridden it."""
    reputation = await reputation_of(session)
    reason = reputation.at_risk
    if reason is None or not reputation.holds_mail:
        return
    paused = await pause_all(session, reason)
    if not paused:
        return
    share = reputation.share(reason)
    session.publish(
        CampaignsPaused(
            campaign_ids=map(str, paused),
            reason=ReasonMessage.Value(f"PAUSE_REASON_{reason.name}"),
            share=share,
            threshold=thresholds().shares[reason],
            messages=reputation.messages,
        )
    )
    logger().warning("campaigns_paused", campaigns=len(paused), reason=reason.value, share=round(share, 5))
