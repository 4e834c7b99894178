"""What is remembered for a while, and forgotten by the clock: what the chassis remembers of requests and events, and what services name."""

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import TextClause, text

from chassis.database import RoleDatabase
from chassis.scheduler import Periodic

# A client may repeat a request for a day at least; a stream may deliver again for as long as it holds an event.
IDEMPOTENCY_KEYS_KEPT = timedelta(hours=48)
INBOX_KEPT = timedelta(days=14)


@dataclass(frozen=True, slots=True)
class Kept:
    """A table whose rows are kept for so long after the moment in their column `since`; of those that `only` says, if it says so."""

    table: str
    since: str
    time: timedelta
    only: str = "true"

    def forgetting(self) -> TextClause:
        """What deletes the rows that are too old now."""
        statement = f"DELETE FROM {self.table} WHERE {self.only} AND {self.since} < now() - :time"  # noqa: S608 - of our own words alone
        return text(statement).bindparams(time=self.time)


REQUESTS_AND_EVENTS = (
    Kept("idempotency_keys", "created_at", IDEMPOTENCY_KEYS_KEPT),
    Kept("inbox", "created_at", INBOX_KEPT),
)


class Forgetting:
    """Forgets, every hour, what is too old in all organizations, through the scheduler's role."""

    def __init__(self, scheduler: RoleDatabase, *kept: Kept) -> None:
        self._scheduler = scheduler
        self._kept = kept

    async def run(self) -> None:
        """Run until cancelled."""
        await Periodic(timedelta(hours=1), self.round).run()

    async def round(self) -> None:
        """Forget what is too old now."""
        for each in self._kept:
            async with self._scheduler.transaction() as connection:
                await connection.execute(each.forgetting())
