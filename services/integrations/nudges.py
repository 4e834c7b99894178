"""Accounts in which something has changed, as their CRMs say: the connections to them are synced soon, instead of at their time.

What is lost of it, as when a process dies, costs no more than the wait for the next sync by the clock.
"""

from collections import defaultdict
from collections.abc import Collection
from datetime import timedelta
from uuid import UUID

from sqlalchemy import text

from chassis.context import RequestContext
from chassis.database import Database, RoleDatabase
from chassis.scheduler import Periodic
from services.integrations.sync import positions

_EVERY = timedelta(seconds=1)
# Nobody has so many accounts change in a second; what is above it waits for the clock.
_MOST_WAITING = 10_000

# For the scheduler's role, which sees no more of a connection than this. An account may be connected by several organizations.
_CONNECTIONS_TO = text("""
    SELECT organization_id, array_agg(id) AS ids FROM integrations.connections
    WHERE provider = :provider AND account_id = ANY(:accounts) GROUP BY organization_id
""")


class Nudges:
    """Gathers what CRMs say, and has it heeded every second: a thousand posts about an account cost as much as one."""

    def __init__(self, database: Database, scheduler: RoleDatabase) -> None:
        self._database = database
        self._scheduler = scheduler
        self._waiting: set[tuple[str, str]] = set()

    def add(self, provider: str, accounts: Collection[str]) -> None:
        """Something has changed in these accounts of a CRM."""
        room = _MOST_WAITING - len(self._waiting)
        self._waiting.update([(provider, account) for account in accounts][:room])

    async def run(self) -> None:
        """Run until cancelled."""
        await Periodic(_EVERY, self.round).run()

    async def round(self) -> None:
        """Heed what was said until now."""
        waiting, self._waiting = self._waiting, set()
        accounts = defaultdict(list)
        for provider, account in waiting:
            accounts[provider].append(account)
        for provider, those in accounts.items():
            await self._heed(provider, those)

    async def _heed(self, provider: str, accounts: list[str]) -> None:
        async with self._scheduler.transaction() as connection:
            found = (
                await connection.execute(_CONNECTIONS_TO, {"provider": provider, "accounts": accounts})
            ).all()
        for organization_id, ids in found:
            await self._nudge(organization_id, ids)

    async def _nudge(self, organization_id: UUID, connection_ids: list[UUID]) -> None:
        context = RequestContext.of_process("integrations", organization_id)
        async with self._database.tenant_transaction(context) as session:
            await positions.nudge(session, connection_ids)
