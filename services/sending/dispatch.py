"""The dispatch: lets a campaign's held batches go, in their order and only so many at a time.

What is on its way is what a pause, a cancellation or an opt-out still has to catch, and what fills the streams: a window
of batches for each campaign keeps that small. A batch leaves the window once all of it was attempted; what was deferred then is due
by itself, and keeps nobody waiting. A throttled campaign's go no faster than it may, and in quiet hours none. Of one that tries several subjects the test goes
first, and the rest once the winner is known.
"""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text

from chassis.context import RequestContext
from chassis.database import Database, RoleDatabase, TenantSession
from chassis.errors import Unavailable
from chassis.logs import logger
from chassis.scheduler import Scheduler
from flownurture.sending.v1.events_pb2 import SendsRequested
from services.sending.accounting import complete_if_settled
from services.sending.quiet_hours import IS_QUIET
from services.sending.subject_tests import SubjectTest, begin_wait, decide_winner
from services.sending.throttle import Throttle

# Of 250 messages each: what delivery hands over in about a second at its fastest.
_WINDOW = 16
_POLL = timedelta(seconds=0.8)
_LANES = 4

# For the scheduler's role. In no order, so that none of very many is always the last.
_CAMPAIGNS_THAT_HOLD_BATCHES = text(f"""
    SELECT organization_id, id FROM sending.campaigns AS campaign
    WHERE status = 'sending' AND (next_release_at IS NULL OR next_release_at <= now()) AND EXISTS (
        SELECT FROM sending.batches AS batch
        WHERE batch.organization_id = campaign.organization_id AND batch.campaign_id = campaign.id
          AND batch.status = 'held'
    ) AND NOT EXISTS (
        SELECT FROM sending.sending_policies AS policy
        WHERE policy.organization_id = campaign.organization_id AND {IS_QUIET}
    )
    ORDER BY random() LIMIT 128
""")  # noqa: S608 - of our own words alone

# Replicas come one after another, and a pause before or after. A fan-out's messages refer to the row meanwhile.
_HOLD = text(f"""
    SELECT messages_per_hour, coalesce(next_release_at, launched_at) AS free_at, audience_complete, subject_test,
           subject_test IS NOT NULL AND winner IS NULL AS tests, test_ends_at <= now() AS test_is_over,
           EXISTS (SELECT FROM sending_policies WHERE {IS_QUIET}) AS is_quiet
    FROM campaigns
    WHERE id = :campaign_id AND status = 'sending' FOR NO KEY UPDATE
""")  # noqa: S608
_NEXT = text("""
    SELECT id, size, clock_timestamp() AS now FROM batches
    WHERE campaign_id = :campaign_id AND status = 'held' AND (of_test OR NOT :tests)
    ORDER BY of_test DESC, id LIMIT greatest(0, :window - (
        SELECT count(*) FROM batches
        WHERE campaign_id = :campaign_id AND status IN ('requested', 'approved') AND NOT tried
    ))
""")
_RELEASE = text("""
    UPDATE batches SET status = 'requested', due_at = now() + interval '60 seconds' WHERE id = ANY(:batch_ids)
""")
_WAIT = text("UPDATE campaigns SET next_release_at = :moment WHERE id = :campaign_id")


class Dispatch:
    """Releases batches of campaigns, in any organization, whenever it is told that there may be room."""

    def __init__(self, database: Database, scheduler: RoleDatabase) -> None:
        self._database = database
        self._woken: asyncio.Queue[tuple[RequestContext, UUID]] = asyncio.Queue()
        self._waiting: set[UUID] = set()
        self._scheduler = Scheduler(
            scheduler, _CAMPAIGNS_THAT_HOLD_BATCHES, _POLL, self.look_at, process="sending"
        )

    def wake(self, context: RequestContext, campaign_id: UUID) -> None:
        """Have a campaign looked at soon, once for all who ask until then."""
        if campaign_id not in self._waiting:
            self._waiting.add(campaign_id)
            self._woken.put_nowait((context, campaign_id))

    async def run(self) -> None:
        """Run until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._scheduler.run())
            for _ in range(_LANES):
                group.create_task(self._look_forever())

    async def round(self) -> int:
        """Look once at every campaign that holds batches; answers how many there were."""
        return await self._scheduler.round()

    async def look_at(self, context: RequestContext, campaign_id: UUID) -> None:
        """Release what has room, or complete the campaign when nothing of it is left. Raises Unavailable."""
        async with self._database.tenant_transaction(context) as session:
            if not await release(session, campaign_id):
                await complete_if_settled(session, campaign_id)

    async def _look_forever(self) -> None:
        while True:
            context, campaign_id = await self._woken.get()
            self._waiting.discard(campaign_id)
            try:
                await self.look_at(context, campaign_id)
            except Unavailable:
                # The poll comes to it.
                logger().warning("dispatch_waits", campaign_id=str(campaign_id), exc_info=True)


async def release(session: TenantSession, campaign_id: UUID, *, window: int = _WINDOW) -> int:
    """Order the veto of as many held batches as there is room for; answers how many. None while it is quiet or not being sent."""
    campaign = (await session.execute(_HOLD, {"campaign_id": campaign_id})).one_or_none()
    if campaign is None or campaign.is_quiet:
        return 0
    tests = SubjectTest.parse(campaign.subject_test) if campaign.tests else None
    if tests is not None and campaign.test_is_over:
        await decide_winner(session, campaign_id, tests)
        tests = None
    # A statement of its own: it sees what whoever held the campaign before has released.
    found = await session.execute(
        _NEXT, {"campaign_id": campaign_id, "window": window, "tests": tests is not None}
    )
    batches = found.all()
    if batches and campaign.messages_per_hour:
        batches = await _throttled(session, campaign_id, campaign, batches)
    if not batches:
        if tests is not None and campaign.audience_complete:
            await begin_wait(session, campaign_id, tests)
        return 0
    await session.execute(_RELEASE, {"batch_ids": [batch.id for batch in batches]})
    for batch in batches:
        session.publish(SendsRequested(batch_id=str(batch.id), message_count=batch.size))
    return len(batches)


async def _throttled(
    session: TenantSession, campaign_id: UUID, campaign: Row[Any], batches: Sequence[Row[Any]]
) -> Sequence[Row[Any]]:
    """Those that may go now; the others wait for their time."""
    admitted, moment = Throttle(campaign.messages_per_hour).admit(
        (batch.size for batch in batches), free_at=campaign.free_at, now=batches[0].now
    )
    if admitted:
        await session.execute(_WAIT, {"campaign_id": campaign_id, "moment": moment})
    return batches[:admitted]
