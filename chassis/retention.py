"""What the chassis remembers about requests and events, and for how long."""

from datetime import timedelta

from sqlalchemy import text

from chassis.database import RoleDatabase
from chassis.scheduler import Periodic

# A client may repeat a request for a day at least; a stream may deliver again for as long as it holds an event.
IDEMPOTENCY_KEYS_KEPT = timedelta(hours=48)
INBOX_KEPT = timedelta(days=14)

_FORGET_KEYS = text("DELETE FROM idempotency_keys WHERE created_at < now() - :kept")
_FORGET_EVENTS = text("DELETE FROM inbox WHERE created_at < now() - :kept")


class Prune:
    """Forgets, every hour, old idempotency keys and inbox rows of all organizations, through the scheduler's role."""

    def __init__(self, database: RoleDatabase) -> None:
        self._database = database

    async def run(self) -> None:
        """Run until cancelled."""
        await Periodic(timedelta(hours=1), self.round).run()

    async def round(self) -> None:
        """Forget what is too old now."""
        async with self._database.transaction() as connection:
            await connection.execute(_FORGET_KEYS, {"kept": IDEMPOTENCY_KEYS_KEPT})
            await connection.execute(_FORGET_EVENTS, {"kept": INBOX_KEPT})
