"""Syncs as rows: one at a time for a connection, by a lease that every step renews and fences.

A process that dies leaves its lease to run out; the next one goes on behind the last step that was committed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Row, func, insert, or_, select, update

from chassis.database import TenantSession
from chassis.identifiers import new_id
from services.integrations.sync.settling import Problem
from services.integrations.tables import sync_problems, syncs

LEASE = timedelta(seconds=20)
MOST_PROBLEMS = 1_000
_MOST_CHARACTERS = 500


class SyncStatus(StrEnum):
    """Where a sync stands."""

    PENDING = "pending"
    RUNNING = "running"
    WAITING = "waiting"
    COMPLETED = "completed"
    FAILED = "failed"


class Trigger(StrEnum):
    """Why there is one."""

    SCHEDULE = "schedule"
    REQUEST = "request"


class Phase(StrEnum):
    """What it is at."""

    RECORDS = "records"
    ALL_CONTACTS = "all_contacts"
    CONTACTS = "contacts"


UNFINISHED = (SyncStatus.PENDING.value, SyncStatus.RUNNING.value, SyncStatus.WAITING.value)
COUNTS = (
    "records_read",
    "contacts_read",
    "contacts_created",
    "contacts_changed",
    "records_created",
    "records_changed",
    "opt_outs_taken",
    "opt_outs_told",
    "problems",
)


class LeaseLost(Exception):
    """Another process has taken over, or the connection is gone: nothing may be written any more."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to work on a sync."""

    sync_id: UUID
    token: UUID


async def start(session: TenantSession, connection_id: UUID, trigger: Trigger) -> Row[Any]:
    """Begin a sync, or answer the one that is under way. The connection must be held."""
    under_way = select(syncs).where(syncs.c.connection_id == connection_id, syncs.c.status.in_(UNFINISHED))
    found = (await session.execute(under_way)).one_or_none()
    if found is not None:
        return found
    begun = await session.execute(
        insert(syncs)
        .values(
            id=new_id(), connection_id=connection_id, trigger=trigger.value, status=SyncStatus.PENDING.value
        )
        .returning(syncs)
    )
    return begun.one()


async def claim(session: TenantSession, sync_id: UUID) -> tuple[Lease, Row[Any]] | None:
    """Take the lease of a sync, with its row, unless it is finished, waits, or somebody works on it."""
    lease = Lease(sync_id, uuid4())
    claimed = await session.execute(
        update(syncs)
        .where(
            syncs.c.id == sync_id,
            syncs.c.status.in_(UNFINISHED),
            or_(syncs.c.lease_until.is_(None), syncs.c.lease_until <= func.now()),
        )
        .values(
            status=SyncStatus.RUNNING.value,
            lease_token=lease.token,
            lease_until=func.now() + LEASE,
            attempts=syncs.c.attempts + 1,
            error="",
        )
        .returning(syncs)
    )
    row = claimed.one_or_none()
    return None if row is None else (lease, row)


async def fence(session: TenantSession, lease: Lease) -> None:
    """Hold the lease until the transaction ends, and renew it. Raises LeaseLost."""
    held = await session.execute(
        update(syncs)
        .where(syncs.c.id == lease.sync_id, syncs.c.lease_token == lease.token)
        .values(lease_until=func.now() + LEASE)
    )
    if not held.rowcount:
        raise LeaseLost


async def advance(
    session: TenantSession, lease: Lease, phase: Phase, counts: Mapping[str, int], problems: Sequence[Problem]
) -> None:
    """Note a step that was fenced."""
    added = {name: syncs.c[name] + counts[name] for name in COUNTS if counts.get(name)}
    if problems:
        added["problems"] = syncs.c.problems + len(problems)
    moved = await session.execute(
        update(syncs)
        .where(syncs.c.id == lease.sync_id)
        .values(phase=phase.value, attempts=0, **added)
        .returning(syncs.c.problems)
    )
    room = max(0, MOST_PROBLEMS - (int(moved.scalar_one()) - len(problems)))
    if kept := problems[:room]:
        await session.execute(insert(sync_problems), [_problem_row(lease, problem) for problem in kept])


async def finish(session: TenantSession, lease: Lease, *, failure: str = "") -> Row[Any]:
    """End it, as failed when there is a failure to tell. The lease must be fenced."""
    ended = await session.execute(
        update(syncs)
        .where(syncs.c.id == lease.sync_id)
        .values(
            status=(SyncStatus.FAILED if failure else SyncStatus.COMPLETED).value,
            error=failure[:_MOST_CHARACTERS],
            finished_at=func.now(),
            lease_token=None,
            lease_until=None,
        )
        .returning(syncs)
    )
    return ended.one()


def _problem_row(lease: Lease, problem: Problem) -> dict[str, Any]:
    return {
        "id": new_id(),
        "sync_id": lease.sync_id,
        "contact_id": problem.contact_id,
        "record_id": problem.record_id,
        "message": problem.message[:_MOST_CHARACTERS],
    }
