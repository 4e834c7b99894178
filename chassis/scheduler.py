"""Work that is due by the clock rather than by a request."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import timedelta
from uuid import UUID

from sqlalchemy import Executable

from chassis.context import RequestContext
from chassis.database import RoleDatabase
from chassis.logs import logger

_CONCURRENCY = 8


class Periodic:
    """Calls `act` every `interval`, give or take a tenth so that replicas spread out.

    A round that fails is logged and the next one comes; a cancelled one ends it.
    """

    def __init__(self, interval: timedelta, act: Callable[[], Awaitable[object]]) -> None:
        self._interval = interval.total_seconds()
        self._act = act

    async def run(self) -> None:
        """Run until cancelled. The first round comes within one interval."""
        await asyncio.sleep(self._interval * random.random())  # noqa: S311 - no secret
        while True:
            try:
                await self._act()
            except Exception:
                logger().exception("round_failed", of=getattr(self._act, "__qualname__", repr(self._act)))
            await asyncio.sleep(self._interval * random.uniform(0.9, 1.1))  # noqa: S311 - no secret


class Scheduler:
    """Finds rows that are due in any organization, and has each handled in its own.

    `query` selects `organization_id, id` of a bounded number of due rows through a named role, which may do no more
    than that. `handler` opens the tenant's transaction itself, locks the row and looks again: replicas, and the
    round after this, may have found the same row.
    """

    def __init__(
        self,
        database: RoleDatabase,
        query: Executable,
        interval: timedelta,
        handler: Callable[[RequestContext, UUID], Awaitable[object]],
        *,
        process: str,
    ) -> None:
        self._database = database
        self._query = query
        self._handler = handler
        self._process = process
        self._periodic = Periodic(interval, self.round)

    async def run(self) -> None:
        """Run until cancelled."""
        await self._periodic.run()

    async def round(self) -> int:
        """Handle what is due now; answers how many rows that was. One row's failure does not stop the others."""
        async with self._database.transaction() as connection:
            due = (await connection.execute(self._query)).all()
        slots = asyncio.Semaphore(_CONCURRENCY)
        async with asyncio.TaskGroup() as group:
            for organization_id, row_id in due:
                group.create_task(self._handle(organization_id, row_id, slots))
        return len(due)

    async def _handle(self, organization_id: UUID, row_id: UUID, slots: asyncio.Semaphore) -> None:
        async with slots:
            try:
                await self._handler(RequestContext.of_process(self._process, organization_id), row_id)
            except Exception:
                logger().exception("due_row_failed", id=str(row_id))
