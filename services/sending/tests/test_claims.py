"""Claims and additions to the list take the steps that the model of them takes, in its order."""

from collections.abc import Mapping
from typing import Any, Self

from psycopg import AsyncCursor
from sqlalchemy import Executable

from chassis.database import TenantSession
from chassis.identifiers import new_id
from services.sending.delivery.claims import claim
from services.sending.model.design import HOLD_BATCH, LEASE, LOCK_LIST, LOOK, WRITE, Design
from services.sending.statuses import SuppressionReason
from services.sending.suppression_list import Suppressed, suppress
from services.sending.tests.tenant import Tenant

READER = "reader@example.com"

# By what their statements begin with. One statement looks and leases, so nothing comes between the two.
STEPS: Mapping[str, tuple[str, ...]] = {
    "SELECT count(pg_advisory_xact_lock_shared(": (LOCK_LIST,),
    "SELECT count(pg_advisory_xact_lock(": (LOCK_LIST,),
    "SELECT FROM batches WHERE id = ANY(": (HOLD_BATCH,),
    "WITH leased AS (": (LOOK, LEASE),
    "INSERT INTO suppressions": (WRITE,),
}


class Overheard:
    """A session, and the driver beneath it, that remembers which steps its statements were."""

    def __init__(self, session: TenantSession) -> None:
        self.steps: list[str] = []
        self._session = session

    @property
    def driver(self) -> Self:
        """It hears what is told the driver as well."""
        return self

    async def execute(self, statement: Executable | str, parameters: Any = None) -> Any:
        self.hear(str(statement))
        if isinstance(statement, str):
            return await self._session.driver.execute(statement, parameters)
        return await self._session.execute(statement, parameters)

    def cursor(self, **wanted: Any) -> "OverheardCursor":
        return OverheardCursor(self, self._session.driver.cursor(**wanted))

    def pipeline(self) -> Any:
        return self._session.driver.pipeline()

    def hear(self, statement: str) -> None:
        said = statement.strip()
        self.steps += next((steps for begins, steps in STEPS.items() if said.startswith(begins)), ())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)


class OverheardCursor:
    """One of the driver's, that tells what it is told."""

    def __init__(self, overheard: Overheard, cursor: AsyncCursor[Any]) -> None:
        self._overheard = overheard
        self._cursor = cursor

    async def execute(self, statement: str, parameters: Any = None) -> Any:
        self._overheard.hear(statement)
        return await self._cursor.execute(statement, parameters)

    async def fetchall(self) -> list[Any]:
        return await self._cursor.fetchall()


async def test_a_claim_takes_the_steps_of_the_model_in_their_order(tenant: Tenant) -> None:
    await tenant.launch(READER)
    [batch_id] = await tenant.approve()
    async with tenant.database.tenant_transaction(tenant.context) as session:
        overheard = Overheard(session)
        assert await claim(overheard, [batch_id], new_id())  # type: ignore[arg-type]
    assert tuple(overheard.steps) == Design().claim


async def test_an_addition_takes_the_steps_of_the_model_in_their_order(tenant: Tenant) -> None:
    async with tenant.database.tenant_transaction(tenant.context) as session:
        overheard = Overheard(session)
        entry = Suppressed(bytes(32), SuppressionReason.UNSUBSCRIBE)
        assert await suppress(overheard, [entry])  # type: ignore[arg-type]
    assert tuple(overheard.steps) == Design().opt_out[:2]
