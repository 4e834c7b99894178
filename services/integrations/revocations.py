"""What is to be revoked at a CRM: ordered with the deletion of a connection, and done after it, however long the CRM is away."""

from datetime import timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, Interval, cast, delete, func, insert, text, update

from chassis.context import RequestContext
from chassis.database import Database, RoleDatabase, TenantSession
from chassis.identifiers import new_id
from chassis.logs import logger
from chassis.scheduler import Scheduler
from chassis.secret import Secret
from chassis.vault.keyring import Keyring
from chassis.vault.vault import Vault
from chassis.vault.wrapping import DoesNotOpen
from services.integrations.crm.errors import CrmError
from services.integrations.offers import NotSetUp, Offers
from services.integrations.tables import revocations

_TABLE = "revocations"
_COLUMN = "sealed_token"
_EVERY = timedelta(seconds=3)
_FIRST_PAUSE = timedelta(seconds=30)
_LONGEST_PAUSE = timedelta(hours=6)
# Then somebody has to look at the CRM's own list of what may reach it.
GIVEN_UP_AFTER = timedelta(days=3)

# What this process can revoke, and what nobody could.
_DUE = text("""
    SELECT organization_id, id FROM integrations.revocations
    WHERE due_at <= now() AND (provider = ANY(:providers) OR created_at < now() - CAST(:given_up AS interval))
    ORDER BY due_at LIMIT 100
""")


async def order(session: TenantSession, keyring: Keyring, provider: str, token: Secret) -> None:
    """Have a refresh token revoked, and all that was made by it, once the transaction has committed."""
    revocation_id = new_id()
    sealed = keyring.seal(token.reveal().encode(), table=_TABLE, row=revocation_id, column=_COLUMN)
    await session.execute(
        insert(revocations).values(id=revocation_id, provider=provider, sealed_token=sealed, attempts=0)
    )


class Revoker:
    """Revokes what is due, again after a while what could not be."""

    def __init__(self, database: Database, scheduler: RoleDatabase, vault: Vault, offers: Offers) -> None:
        self._database = database
        self._vault = vault
        self._offers = offers
        due = _DUE.bindparams(providers=offers.with_app(), given_up=GIVEN_UP_AFTER)
        self._scheduler = Scheduler(scheduler, due, _EVERY, self.revoke, process="integrations")

    async def run(self) -> None:
        """Run until cancelled."""
        await self._scheduler.run()

    async def revoke(self, context: RequestContext, revocation_id: UUID) -> None:
        """Try once, if it is due. It is due again after a while before it is tried: whoever dies meanwhile leaves it to others."""
        async with self._database.tenant_transaction(context) as session:
            claimed = await session.execute(
                update(revocations)
                .where(revocations.c.id == revocation_id, revocations.c.due_at <= func.now())
                .values(attempts=revocations.c.attempts + 1, due_at=func.now() + _pause())
                .returning(revocations, (func.now() - revocations.c.created_at).label("age"))
            )
            row = claimed.one_or_none()
            if row is None:
                return
            keyring = await self._vault.keyring(session)
        try:
            token = keyring.open(row.sealed_token, table=_TABLE, row=revocation_id, column=_COLUMN)
        except DoesNotOpen:
            # The organization's keys are destroyed: nobody can do anything with it any more, nor we.
            await self._forget(context, revocation_id)
            return
        try:
            await self._offers.oauth(row.provider).revoke(token)
        except (CrmError, NotSetUp) as error:
            logger().warning(
                "revocation_failed", provider=row.provider, attempts=row.attempts, why=str(error)
            )
            if row.age < GIVEN_UP_AFTER:
                return
            logger().error("revocation_given_up", provider=row.provider, id=str(revocation_id))
        await self._forget(context, revocation_id)

    async def _forget(self, context: RequestContext, revocation_id: UUID) -> None:
        async with self._database.tenant_transaction(context) as session:
            await session.execute(delete(revocations).where(revocations.c.id == revocation_id))


def _pause() -> ColumnElement[timedelta]:
    """Twice as long with each attempt that there was."""
    doubled = func.pow(2, func.least(revocations.c.attempts, 20)) * cast(_FIRST_PAUSE, Interval)
    return func.least(doubled, _LONGEST_PAUSE)
