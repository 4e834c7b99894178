"""What is forgotten, and when: who did not come back from a CRM, syncs of long ago, and what happened to mail that no CRM was told of."""

from datetime import timedelta

from sqlalchemy import text

from chassis.database import RoleDatabase
from chassis.scheduler import Periodic
from services.integrations.sync.activities import GIVEN_UP_AFTER

# With their problems.
SYNCS_KEPT = timedelta(days=90)

_EXPIRED_FOR = timedelta(hours=1)
# Longer than anybody's mail is opened for.
_CAMPAIGN_NAMES_KEPT = timedelta(days=180)

# By the moment in this column, for so long.
_KEPT = (
    ("authorizations", "expires_at", _EXPIRED_FOR),
    ("syncs", "finished_at", SYNCS_KEPT),
    ("outgoing_activities", "occurred_at", GIVEN_UP_AFTER),
    ("campaign_names", "launched_at", _CAMPAIGN_NAMES_KEPT),
)


class Forgetting:
    """Forgets, every hour, what is too old in all organizations, through the scheduler's role."""

    def __init__(self, scheduler: RoleDatabase) -> None:
        self._scheduler = scheduler

    async def run(self) -> None:
        """Run until cancelled."""
        await Periodic(timedelta(hours=1), self.round).run()

    async def round(self) -> None:
        """Forget what is too old now."""
        async with self._scheduler.transaction() as connection:
            for table, moment, kept in _KEPT:
                statement = (
                    f"DELETE FROM integrations.{table} WHERE {moment} < now() - CAST(:kept AS interval)"  # noqa: S608
                )
                await connection.execute(text(statement), {"kept": kept})
