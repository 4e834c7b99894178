"""The facts that webhooks tell of, kept for a month: what an endpoint is sent, and sent again on request."""

from datetime import timedelta
from uuid import UUID

from sqlalchemy import insert, text

from chassis.database import RoleDatabase, TenantSession
from chassis.scheduler import Periodic
from services.webhooks.tables import events

KEPT = timedelta(days=30)

_FORGET = text("DELETE FROM events WHERE received_at < now() - :kept")


async def keep(session: TenantSession, event_id: UUID, event_type: str, payload: bytes) -> None:
    """Note a fact in the organization's log."""
    await session.execute(insert(events).values(id=event_id, type=event_type, payload=payload))


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
            await connection.execute(_FORGET, {"kept": KEPT})
