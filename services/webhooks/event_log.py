"""What webhooks have told and are to tell is kept for a month: events, deliveries, attempts. It can be sent again for so long."""

from datetime import timedelta

from sqlalchemy import text

from chassis.database import RoleDatabase
from chassis.scheduler import Periodic

KEPT = timedelta(days=30)

_FORGET = tuple(
    text(f"DELETE FROM webhooks.{table} WHERE {age} < now() - CAST(:kept AS interval)")  # noqa: S608 - of our own words alone
    for table, age in (("attempts", "attempted_at"), ("deliveries", "created_at"), ("events", "received_at"))
)


class Forgetting:
    """Forgets, every hour, what is older than a month, through the scheduler's role."""

    def __init__(self, database: RoleDatabase) -> None:
        self._database = database

    async def run(self) -> None:
        """Run until cancelled."""
        await Periodic(timedelta(hours=1), self.round).run()

    async def round(self) -> None:
        """Forget what is too old now."""
        async with self._database.transaction() as connection:
            for statement in _FORGET:
                await connection.execute(statement, {"kept": KEPT})
