"""Finds active workflows in which somebody is due, in any organization, and takes them on, set after set.

Several processes may run at a time: what one has claimed the others pass over. An organization of whose people a million are due keeps
nobody else waiting, since workflows take turns, a set each.
"""

import asyncio
from datetime import timedelta
from typing import TypeAlias
from uuid import UUID

from sqlalchemy import text

from chassis.context import RequestContext
from chassis.database import RoleDatabase
from chassis.errors import Unavailable
from chassis.logs import logger
from chassis.soundings import MOST
from services.sending.workflows.advancing import Advancing

SIZE = 500
# How long somebody who is due waits at most until they are found.
INTERVAL = timedelta(milliseconds=400)
# Sets at a time: in all, and of a workflow.
_SETS = 4
_SETS_OF_A_WORKFLOW = 2
_AFTER_FAILURE_SECONDS = 1.0

# For the scheduler's role.
_WITH_SOMEBODY_DUE = text("""
    SELECT organization_id, id FROM sending.workflows AS workflow
    WHERE status = 'active' AND EXISTS (
        SELECT FROM sending.enrollment_places AS place
        WHERE place.organization_id = workflow.organization_id AND place.workflow_id = workflow.id AND place.wake_at <= :moment
    )
""")

# How many are due, and for how long, for soundings: a probe of an index for each active workflow, as above.
DUE = text("""
    SELECT 'due', count(*), coalesce(extract(epoch FROM clock_timestamp() - min(wake_at)), 0) FROM (
        SELECT place.wake_at FROM sending.workflows AS workflow CROSS JOIN LATERAL (
            SELECT wake_at FROM sending.enrollment_places
            WHERE organization_id = workflow.organization_id AND workflow_id = workflow.id AND wake_at <= now()
            ORDER BY wake_at LIMIT :most
        ) AS place
        WHERE workflow.status = 'active' LIMIT :most
    ) AS due
""").bindparams(most=MOST)

_Key: TypeAlias = tuple[UUID, UUID]


class Runner:
    """Takes those on who are due: every 0.4 s, and at once where `wake` says so."""

    def __init__(self, scheduler: RoleDatabase, advancing: Advancing, size: int = SIZE) -> None:
        self._scheduler = scheduler
        self._advancing = advancing
        self._size = size
        self._slots = asyncio.Semaphore(_SETS)
        # Which workflows are under way, and which of them somebody asked for meanwhile.
        self._under_way: dict[_Key, asyncio.Task[None]] = {}
        self._again: set[_Key] = set()

    async def run(self) -> None:
        """Run until cancelled; what is under way then is rolled back, and done by whoever comes next."""
        try:
            while True:
                try:
                    await self.look()
                except Unavailable:
                    logger().warning("workflows_wait", exc_info=True)
                await asyncio.sleep(INTERVAL.total_seconds())
        finally:
            while under_way := list(self._under_way.values()):
                # Nothing that was asked for meanwhile begins any more.
                self._again.clear()
                for task in under_way:
                    task.cancel()
                await asyncio.gather(*under_way, return_exceptions=True)

    async def look(self) -> None:
        """Begin with all workflows in which somebody is due now."""
        async with self._scheduler.transaction() as connection:
            due = await connection.execute(_WITH_SOMEBODY_DUE, {"moment": self._advancing.moment})
            found = due.all()
        for organization_id, workflow_id in found:
            self.wake(organization_id, workflow_id)

    def wake(self, organization_id: UUID, workflow_id: UUID) -> None:
        """Begin with a workflow now, or go on with it once those are done who are under way."""
        key = organization_id, workflow_id
        if key in self._under_way:
            self._again.add(key)
            return
        task = asyncio.create_task(self._drain(key))
        self._under_way[key] = task
        task.add_done_callback(lambda _: self._drained(key))

    async def settled(self) -> None:
        """Return once nothing is under way."""
        while self._under_way:
            await asyncio.wait(list(self._under_way.values()))
            await asyncio.sleep(0)

    def _drained(self, key: _Key) -> None:
        del self._under_way[key]
        if key in self._again:
            self._again.discard(key)
            self.wake(*key)

    async def _drain(self, key: _Key) -> None:
        """Take on all who are due in a workflow."""
        organization_id, workflow_id = key
        context = RequestContext.of_process("workflows", organization_id)
        try:
            async with asyncio.TaskGroup() as lanes:
                for _ in range(_SETS_OF_A_WORKFLOW):
                    lanes.create_task(self._drain_lane(context, workflow_id))
        except* Unavailable as failure:
            logger().warning("workflow_waits", workflow_id=str(workflow_id), error=str(failure.exceptions[0]))
            await asyncio.sleep(_AFTER_FAILURE_SECONDS)

    async def _drain_lane(self, context: RequestContext, workflow_id: UUID) -> None:
        while await self._take_on(context, workflow_id) == self._size:
            pass

    async def _take_on(self, context: RequestContext, workflow_id: UUID) -> int:
        async with self._slots:
            try:
                return await self._advancing.advance_due(context, workflow_id, self._size)
            except Unavailable:
                raise
            except Exception:
                logger().exception("set_failed", workflow_id=str(workflow_id))
                return await self._one_by_one(context, workflow_id)

    async def _one_by_one(self, context: RequestContext, workflow_id: UUID) -> int:
        """Each of a set that failed by itself, so that who is at fault keeps nobody else."""
        for number in range(self._size):
            try:
                if not await self._advancing.advance_due(context, workflow_id, 1):
                    return number
            except Unavailable:
                raise
            except Exception:
                logger().exception("enrollment_failed", workflow_id=str(workflow_id))
                await self._advancing.put_off_due(context, workflow_id)
        return self._size
