"""For how long events and decisions are kept: as many days as the plan says, looked at once a day. Counts and firsts stay."""

from datetime import timedelta
from typing import Protocol

from sqlalchemy import text

from chassis.context import RequestContext
from chassis.database import Database, RoleDatabase
from chassis.scheduler import Scheduler

_INTERVAL = timedelta(minutes=1)
_MOST_IN_A_SET = 5_000

# For the scheduler's role.
_ORGANIZATIONS_TO_LOOK_AT = text("""
    SELECT organization_id, organization_id AS id FROM sending.event_retention
    WHERE next_look_at <= now() ORDER BY next_look_at LIMIT 16
""")
_FORGET = text("""
    DELETE FROM engagement_events WHERE (occurred_at, id) IN (
        SELECT occurred_at, id FROM engagement_events WHERE occurred_at < now() - CAST(:kept AS interval)
        ORDER BY occurred_at LIMIT :most
    )
""")
# Of decisions whole days go, and the heads of their chains stay.
_FORGET_LINKS = text("""
    DELETE FROM decision_links WHERE (day, sequence) IN (
        SELECT day, sequence FROM decision_links WHERE day < ((now() - CAST(:kept AS interval)) AT TIME ZONE 'UTC')::date
        ORDER BY day LIMIT :most
    )
""")
_FORGET_DECISIONS = text("""
    DELETE FROM decisions WHERE (day, transaction, id) IN (
        SELECT day, transaction, id FROM decisions WHERE day < ((now() - CAST(:kept AS interval)) AT TIME ZONE 'UTC')::date
        ORDER BY day LIMIT :most
    )
""")
_LOOKED = text("UPDATE event_retention SET next_look_at = now() + interval '1 day'")


class Retentions(Protocol):
    """Who knows for how long a plan keeps events."""

    async def event_retention(self, context: RequestContext) -> timedelta:
        """How old the events of the context's organization may become; raises Unavailable when it cannot be told."""


class EventRetention:
    """Forgets events that are too old, in sets."""

    def __init__(
        self,
        database: Database,
        scheduler: RoleDatabase,
        retentions: Retentions,
        *,
        most_in_a_set: int = _MOST_IN_A_SET,
    ) -> None:
        self._database = database
        self._retentions = retentions
        self._most = most_in_a_set
        self._scheduler = Scheduler(
            scheduler, _ORGANIZATIONS_TO_LOOK_AT, _INTERVAL, self._look_at, process="sending"
        )

    async def run(self) -> None:
        """Run until cancelled."""
        await self._scheduler.run()

    async def forget(self, context: RequestContext) -> int:
        """Forget what is too old of the context's organization; answers how many rows that was."""
        # Before anything is forgotten: what is not known is not guessed.
        kept = await self._retentions.event_retention(context)
        forgotten = 0
        for forget in (_FORGET, _FORGET_LINKS, _FORGET_DECISIONS):
            gone = self._most
            while gone == self._most:
                async with self._database.tenant_transaction(context) as session:
                    gone = (await session.execute(forget, {"kept": kept, "most": self._most})).rowcount
                forgotten += gone
        async with self._database.tenant_transaction(context) as session:
            await session.execute(_LOOKED)
        return forgotten

    async def _look_at(self, context: RequestContext, _: object) -> None:
        await self.forget(context)
