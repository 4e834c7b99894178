"""Long work on an organization's contacts: one worker at a time, by a lease that every step renews and fences.

A worker that dies leaves its lease to run out; the next one goes on behind the last step that was committed. Jobs of one kind
and organization are worked on one after the other, oldest first, so that the later one has the last word.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from time import monotonic
from typing import Any, TypeAlias
from uuid import UUID, uuid4

from sqlalchemy import Row, Table, TextClause, exists, func, or_, select, text, update

from chassis.context import RequestContext
from chassis.database import Database, RoleDatabase, TenantSession
from chassis.scheduler import Scheduler
from services.contacts.job_figures import TURNS

_log = logging.getLogger(__name__)

LEASE = timedelta(seconds=15)
# Claims in a row without a step that went through, before a job is given up.
MOST_ATTEMPTS = 10
# After this long others get their turn, so that a large job does not keep small ones waiting.
TURN_SECONDS = 1.0
POLL = timedelta(seconds=2)


class JobStatus(StrEnum):
    """Where a job stands."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"


UNFINISHED = (JobStatus.PENDING.value, JobStatus.RUNNING.value)


class LeaseLost(Exception):
    """Another worker has taken over; what this one was about to write must not be written."""


class Unworkable(Exception):
    """The job cannot be done, and never will be; the message tells its owner why."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to work on a job, a row of a table of jobs."""

    table: Table
    job_id: UUID
    token: UUID

    @property
    def ours(self) -> Any:
        """What holds for the job's row as long as nobody else has taken over."""
        return (self.table.c.id == self.job_id) & (self.table.c.lease_token == self.token)


async def claim(session: TenantSession, table: Table, job_id: UUID) -> tuple[Lease, Row[Any]] | None:
    """Take the lease of a job, with its row, unless it is finished, somebody works on it, or an older one is not finished."""
    older = table.alias("older")
    lease = Lease(table, job_id, uuid4())
    claimed = await session.execute(
        update(table)
        .where(
            table.c.id == job_id,
            table.c.status.in_(UNFINISHED),
            or_(table.c.lease_until.is_(None), table.c.lease_until <= func.now()),
            ~exists().where(older.c.status.in_(UNFINISHED), older.c.id < table.c.id),
        )
        .values(
            status=JobStatus.RUNNING.value,
            lease_token=lease.token,
            lease_until=func.now() + LEASE,
            attempts=table.c.attempts + 1,
        )
        .returning(*table.c)
    )
    row = claimed.one_or_none()
    return None if row is None else (lease, row)


async def fence(session: TenantSession, lease: Lease) -> Row[Any]:
    """Hold the lease until the transaction ends; answers the job's row as it is now. Raises LeaseLost."""
    held = await session.execute(select(lease.table).where(lease.ours).with_for_update())
    row = held.one_or_none()
    if row is None:
        raise LeaseLost
    return row


async def advance(session: TenantSession, lease: Lease, **progress: Any) -> None:
    """Note a step that was fenced, and renew the lease."""
    await session.execute(
        update(lease.table)
        .where(lease.table.c.id == lease.job_id)
        .values(lease_until=func.now() + LEASE, attempts=0, **progress)
    )


async def release(session: TenantSession, lease: Lease) -> None:
    """Let others go on, this worker among them."""
    await session.execute(
        update(lease.table).where(lease.ours).values(lease_token=None, lease_until=func.now())
    )


async def finish(session: TenantSession, lease: Lease, *, failure: str = "") -> None:
    """End the job, as failed when there is a failure to tell. The lease must be fenced."""
    status = JobStatus.FAILED if failure else JobStatus.COMPLETED
    await session.execute(
        update(lease.table)
        .where(lease.table.c.id == lease.job_id)
        .values(
            status=status.value,
            failure=failure,
            completed_at=func.now(),
            lease_token=None,
            lease_until=None,
        )
    )


class Turn:
    """For how long a worker stays with one job."""

    def __init__(self) -> None:
        self._ends = monotonic() + TURN_SECONDS

    @property
    def over(self) -> bool:
        """Whether others should go on."""
        return monotonic() > self._ends


# Works on a claimed job until it ends or the turn is over; raises LeaseLost, and Unworkable.
Work: TypeAlias = Callable[[RequestContext, Lease, Row[Any]], Awaitable[None]]
# Ends a job that cannot be done, within a transaction that fenced it.
GiveUp: TypeAlias = Callable[[TenantSession, Lease, str], Awaitable[None]]


class JobWorker:
    """Does what is waiting in a table of jobs, in any organization, in turns; `wake` tells it that something new is."""

    def __init__(
        self,
        database: Database,
        scheduler_database: RoleDatabase,
        table: Table,
        work: Work,
        give_up: GiveUp,
        *,
        gave_up: str,
    ) -> None:
        self.wake = asyncio.Event()
        self._database = database
        self._table = table
        self._work = work
        self._give_up = give_up
        self._gave_up = gave_up
        self._scheduler = Scheduler(
            scheduler_database, _due_in(table.name), POLL, self.take_turn, process="contacts"
        )

    async def run(self) -> None:
        """Run until cancelled."""
        while True:
            self.wake.clear()
            try:
                busy = await self._scheduler.round()
            except Exception:
                _log.exception("looking for %s failed", self._table.name)
                busy = 0
            if not busy:
                await self._rest()

    async def take_turn(self, context: RequestContext, job_id: UUID) -> None:
        """Work on a job until it ends or the turn is over; nothing happens if somebody else does."""
        async with self._database.tenant_transaction(context) as session:
            claimed = await claim(session, self._table, job_id)
        if claimed is None:
            return None
        lease, job = claimed
        outcome = "failed"
        try:
            if job.attempts > MOST_ATTEMPTS:
                outcome = "given_up"
                return await self._fail(context, lease, self._gave_up)
            await self._work(context, lease, job)
            outcome = "done"
        except Unworkable as reason:
            await self._fail(context, lease, str(reason))
            outcome = "refused"
        except LeaseLost:
            _log.warning("%s %s was taken over", self._table.name, job_id)
            outcome = "taken_over"
        finally:
            TURNS.labels(self._table.name, outcome).inc()

    async def _fail(self, context: RequestContext, lease: Lease, failure: str) -> None:
        async with self._database.tenant_transaction(context) as session:
            await fence(session, lease)
            await self._give_up(session, lease, failure)

    async def _rest(self) -> None:
        try:
            async with asyncio.timeout(POLL.total_seconds()):
                await self.wake.wait()
        except TimeoutError:
            return


def _due_in(table: str) -> TextClause:
    """For the scheduler's role: each organization's oldest job that nobody works on, those that waited longest first."""
    return text(f"""
        SELECT organization_id, id FROM (
            SELECT DISTINCT ON (organization_id) organization_id, id, lease_until
            FROM contacts.{table} WHERE status IN ('pending', 'running')
            ORDER BY organization_id, id
        ) AS oldest
        WHERE lease_until IS NULL OR lease_until <= now()
        ORDER BY lease_until NULLS FIRST, id LIMIT 4
    """)  # noqa: S608 - the name of one of our tables
