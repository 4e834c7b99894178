"""Syncs as rows: one at a time for a connection, by a lease that every step renews and fences.

A process that dies leaves its lease to run out; the next one goes on behind the last step that was committed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, Row, func, insert, or_, select, update

from chassis.database import TenantSession
from chassis.errors import Conflict, NotFound
from chassis.identifiers import new_id
from services.integrations.connections import Connection, Status
from services.integrations.sync import positions
from services.integrations.sync.settling import Problem
from services.integrations.tables import connections, sync_problems, syncs

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
# What nobody works on, and that does not wait.
_FREE = (
    syncs.c.status.in_(UNFINISHED),
    or_(syncs.c.lease_until.is_(None), syncs.c.lease_until <= func.now()),
)
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
    connection_id: UUID
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
            id=new_id(),
            connection_id=connection_id,
            trigger=trigger.value,
            status=SyncStatus.PENDING.value,
            lease_until=func.now(),
        )
        .returning(syncs)
    )
    return begun.one()


async def request(session: TenantSession, connection: Connection) -> Row[Any]:
    """Begin a sync at once, or answer the one that is under way. The connection must be held. Raises Conflict."""
    if connection.status is not Status.ACTIVE:
        raise Conflict("The CRM takes its credentials no more: connect the account again first.")
    found = await start(session, connection.id, Trigger.REQUEST)
    if found.status == SyncStatus.PENDING:
        await positions.wait_for_the_end(session, connection.id)
    return found


async def claim(session: TenantSession, sync_id: UUID) -> tuple[Lease, Row[Any]] | None:
    """Take the lease of a sync, with its row, unless it is finished, waits, or somebody works on it."""
    return await _claim(session, syncs.c.id == sync_id)


async def claim_of(session: TenantSession, connection_id: UUID) -> tuple[Lease, Row[Any]] | None:
    """The same, of the sync of a connection that is under way, if one is."""
    return await _claim(session, syncs.c.connection_id == connection_id)


async def _claim(session: TenantSession, which: ColumnElement[bool]) -> tuple[Lease, Row[Any]] | None:
    token = uuid4()
    claimed = await session.execute(
        update(syncs)
        .where(which, *_FREE)
        .values(
            status=SyncStatus.RUNNING.value,
            lease_token=token,
            lease_until=func.now() + LEASE,
            attempts=syncs.c.attempts + 1,
            error="",
        )
        .returning(syncs)
    )
    row = claimed.one_or_none()
    return None if row is None else (Lease(row.id, row.connection_id, token), row)


async def fence(session: TenantSession, lease: Lease) -> int:
    """Hold the lease until the transaction ends, and renew it; how many turns in a row have come no further. Raises LeaseLost."""
    # Before the sync, as whoever disconnects does, or each would wait for the other.
    connection = select(connections.c.id).where(connections.c.id == lease.connection_id)
    if await session.scalar(connection.with_for_update(read=True, key_share=True)) is None:
        raise LeaseLost
    held = await session.execute(
        update(syncs)
        .where(syncs.c.id == lease.sync_id, syncs.c.lease_token == lease.token)
        .values(lease_until=func.now() + LEASE)
        .returning(syncs.c.attempts)
    )
    attempts: int | None = held.scalar_one_or_none()
    if attempts is None:
        raise LeaseLost
    return attempts


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
    await _keep(session, lease, problems, before=int(moved.scalar_one()) - len(problems))


async def add_problems(session: TenantSession, lease: Lease, problems: Sequence[Problem]) -> None:
    """Tell of these as well. The lease must be fenced."""
    added = await session.execute(
        update(syncs)
        .where(syncs.c.id == lease.sync_id)
        .values(problems=syncs.c.problems + len(problems))
        .returning(syncs.c.problems)
    )
    await _keep(session, lease, problems, before=int(added.scalar_one()) - len(problems))


async def release(session: TenantSession, lease: Lease) -> None:
    """Let others go on at once, if it is still ours. The turn counts as none."""
    await session.execute(
        update(syncs)
        .where(syncs.c.id == lease.sync_id, syncs.c.lease_token == lease.token)
        .values(attempts=func.greatest(syncs.c.attempts - 1, 0), lease_token=None, lease_until=func.now())
    )


async def wait(
    session: TenantSession, lease: Lease, pause: timedelta, why: str, *, counts: bool = False
) -> None:
    """Have nobody go on for so long, and say why. The lease must be fenced.

    `counts`: as a turn that came no further.
    """
    await session.execute(
        update(syncs)
        .where(syncs.c.id == lease.sync_id)
        .values(
            attempts=syncs.c.attempts if counts else 0,
            lease_token=None,
            **_waiting(pause, why),
        )
    )


async def put_off(session: TenantSession, connection_id: UUID, pause: timedelta, why: str) -> None:
    """The same of what is under way for a connection, if nobody works on it."""
    await session.execute(
        update(syncs).where(syncs.c.connection_id == connection_id, *_FREE).values(**_waiting(pause, why))
    )


async def interrupt(session: TenantSession, connection_id: UUID) -> None:
    """Have the sync that is under way begin its step anew, as what it goes by has changed. The connection must be held."""
    await session.execute(
        update(syncs)
        .where(
            syncs.c.connection_id == connection_id,
            syncs.c.status == SyncStatus.RUNNING.value,
            syncs.c.lease_token.is_not(None),
        )
        .values(lease_token=None, lease_until=func.now(), attempts=0)
    )


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


async def page_syncs(
    session: TenantSession, connection_id: UUID, *, before: UUID | None, size: int
) -> list[Row[Any]]:
    """Up to `size` of a connection's syncs, newest first, that are older than `before`."""
    wanted = select(syncs).where(syncs.c.connection_id == connection_id)
    if before is not None:
        wanted = wanted.where(syncs.c.id < before)
    return list(await session.execute(wanted.order_by(syncs.c.id.desc()).limit(size)))


async def get_sync(session: TenantSession, connection_id: UUID, sync_id: UUID) -> Row[Any]:
    """One of them. Raises NotFound."""
    found = await session.execute(
        select(syncs).where(syncs.c.connection_id == connection_id, syncs.c.id == sync_id)
    )
    row = found.one_or_none()
    if row is None:
        raise NotFound(f"sync as {sync_id}")
    return row


async def page_problems(
    session: TenantSession, sync_id: UUID, *, after: UUID | None, size: int
) -> list[Row[Any]]:
    """Up to `size` of a sync's problems, in the order in which they came up, behind `after`."""
    wanted = select(sync_problems).where(sync_problems.c.sync_id == sync_id)
    if after is not None:
        wanted = wanted.where(sync_problems.c.id > after)
    return list(await session.execute(wanted.order_by(sync_problems.c.id).limit(size)))


def _waiting(pause: timedelta, why: str) -> dict[str, Any]:
    return {
        "status": SyncStatus.WAITING.value,
        "lease_until": func.now() + pause,
        "error": why[:_MOST_CHARACTERS],
    }


async def _keep(session: TenantSession, lease: Lease, problems: Sequence[Problem], *, before: int) -> None:
    """Keep them, unless there are plenty."""
    if kept := problems[: max(0, MOST_PROBLEMS - before)]:
        await session.execute(insert(sync_problems), [_problem_row(lease, problem) for problem in kept])


def _problem_row(lease: Lease, problem: Problem) -> dict[str, Any]:
    return {
        "id": new_id(),
        "sync_id": lease.sync_id,
        "contact_id": problem.contact_id,
        "record_id": problem.record_id,
        "message": problem.message[:_MOST_CHARACTERS],
    }
