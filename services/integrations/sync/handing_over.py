"""Activities on their way into a CRM, a batch at a time, each once, under the lease of a connection's sync.

What is handed over is noted before the CRM is called. Whoever is cut off then, or gets no clear answer, leaves it in doubt: a while later
the CRM is asked which of it it shows already. So contacts come first: an account's limit ends it, and what waits goes on with the next sync.
"""

from collections.abc import Sequence
from datetime import timedelta
from time import monotonic

from chassis.context import RequestContext
from chassis.database import Database
from chassis.logs import logger
from services.integrations.crm.adapter import Crm
from services.integrations.crm.errors import Broken, Forbidden, QuotaExhausted, RateLimited, Rejected
from services.integrations.crm.records import Activity, Outcome
from services.integrations.sync import activities
from services.integrations.sync.settling import Problem
from services.integrations.sync.syncs import Lease, fence

# As many as any of the CRMs takes in one call.
_BATCH = 100
# Of an account's calls contacts are to have the most.
MOST_A_SYNC = 2_000
_MOST_SECONDS = 15.0
# By then a call that nobody waits for any more is over, and a CRM's search finds what it has written.
DOUBT = timedelta(minutes=3)


class HandingOver:
    """Has one connection's CRM show what happened."""

    def __init__(self, database: Database, context: RequestContext, lease: Lease, crm: Crm) -> None:
        self._database = database
        self._context = context
        self._lease = lease
        self._connection_id = lease.connection_id
        self._crm = crm

    async def hand_over(self, doubt: timedelta = DOUBT) -> Sequence[Problem]:
        """As much as there is time for; answers what the CRM refuses to show. Raises LeaseLost, Unauthorized, and what our database does."""
        problems: list[Problem] = []
        ends = monotonic() + _MOST_SECONDS
        try:
            await self._drop_unlinked()
            await self._settle_doubts(doubt, ends)
            for _ in range(MOST_A_SYNC // _BATCH):
                batch = [] if monotonic() > ends else await self._take()
                if not batch:
                    break
                outcomes = await self._crm.log(batch)
                await self._settle(batch, outcomes)
                problems += _refused(batch, outcomes)
        except (RateLimited, QuotaExhausted, Broken) as error:
            logger().info("activities_wait", connection_id=str(self._connection_id), why=str(error))
        except (Forbidden, Rejected) as error:
            problems.append(Problem(None, "", f"What happens to mail is not shown in the CRM. {error}"))
        return problems

    async def _drop_unlinked(self) -> None:
        async with self._database.tenant_transaction(self._context) as session:
            await activities.drop_unlinked(session, self._connection_id)

    async def _settle_doubts(self, doubt: timedelta, ends: float) -> None:
        while monotonic() < ends:
            async with self._database.tenant_transaction(self._context, read_only=True) as session:
                asked = await activities.in_doubt(session, self._connection_id, since=doubt, most=_BATCH)
            if not asked:
                return
            shown = await self._crm.logged(asked)
            async with self._database.tenant_transaction(self._context) as session:
                await fence(session, self._lease)
                await activities.drop(session, self._connection_id, shown)
                absent = {each.id for each in asked} - shown
                await activities.wait_again(session, self._connection_id, absent)

    async def _take(self) -> list[Activity]:
        async with self._database.tenant_transaction(self._context) as session:
            await fence(session, self._lease)
            return await activities.take(session, self._connection_id, _BATCH)

    async def _settle(self, batch: Sequence[Activity], outcomes: Sequence[Outcome]) -> None:
        """What was not done for certain stays in doubt."""
        clear = [
            each.id
            for each, outcome in zip(batch, outcomes, strict=False)
            if outcome.id is not None or not outcome.is_retryable
        ]
        async with self._database.tenant_transaction(self._context) as session:
            await fence(session, self._lease)
            await activities.drop(session, self._connection_id, clear)


def _refused(batch: Sequence[Activity], outcomes: Sequence[Outcome]) -> list[Problem]:
    return [
        Problem(None, each.contact_id, f"What happened to mail is not shown: {outcome.error}")
        for each, outcome in zip(batch, outcomes, strict=False)
        if outcome.id is None and not outcome.is_retryable
    ]
