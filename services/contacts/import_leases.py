"""Who works on an import: one worker at a time, by a lease that every chunk renews and fences.

A worker that dies leaves its lease to run out; the next one goes on behind the last chunk that was committed. An
organization's imports are worked on one after the other, oldest first, so that the later file has the last word.
"""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID, uuid4

from sqlalchemy import delete, exists, func, or_, select, text, update

from chassis.database import TenantSession
from services.contacts.csv_rows import Position
from services.contacts.imports import UNFINISHED, ImportStatus
from services.contacts.tables import import_parts, imports

LEASE = timedelta(seconds=15)
# Claims in a row without a chunk that went through, before an import is given up.
MOST_ATTEMPTS = 10

# For the scheduler's role: each organization's oldest import that nobody works on, those that waited longest first.
IMPORTS_TO_WORK_ON = text("""
    SELECT organization_id, id FROM (
        SELECT DISTINCT ON (organization_id) organization_id, id, lease_until
        FROM contacts.imports WHERE status IN ('pending', 'running')
        ORDER BY organization_id, id
    ) AS oldest
    WHERE lease_until IS NULL OR lease_until <= now()
    ORDER BY lease_until NULLS FIRST, id LIMIT 4
""")


class LeaseLost(Exception):
    """Another worker has taken over; what this one was about to write must not be written."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to work on an import from a position on."""

    import_id: UUID
    token: UUID
    size_bytes: int
    attempts: int
    contact_limit: int
    position: Position


async def claim(session: TenantSession, import_id: UUID) -> Lease | None:
    """Take the lease, unless the import is finished, somebody works on it, or an older one is not finished."""
    older = imports.alias("older")
    token = uuid4()
    row = (
        await session.execute(
            update(imports)
            .where(
                imports.c.id == import_id,
                imports.c.status.in_(UNFINISHED),
                or_(imports.c.lease_until.is_(None), imports.c.lease_until <= func.now()),
                ~exists().where(older.c.status.in_(UNFINISHED), older.c.id < imports.c.id),
            )
            .values(
                status=ImportStatus.RUNNING.value,
                lease_token=token,
                lease_until=func.now() + LEASE,
                attempts=imports.c.attempts + 1,
            )
            .returning(
                imports.c.size_bytes,
                imports.c.attempts,
                imports.c.contact_limit,
                imports.c.next_offset,
                imports.c.next_line,
                imports.c.inside_refused_line,
            )
        )
    ).one_or_none()
    if row is None:
        return None
    return Lease(import_id, token, row.size_bytes, row.attempts, row.contact_limit, Position(*row[3:]))


async def fence(session: TenantSession, lease: Lease) -> int:
    """Hold the lease until the transaction ends; answers how many rows failed so far. Raises LeaseLost."""
    failed_rows = await session.scalar(
        select(imports.c.failed_rows)
        .where(imports.c.id == lease.import_id, imports.c.lease_token == lease.token)
        .with_for_update()
    )
    if failed_rows is None:
        raise LeaseLost
    return int(failed_rows)


async def release(session: TenantSession, lease: Lease) -> None:
    """Let others go on, this worker among them."""
    await session.execute(
        update(imports)
        .where(imports.c.id == lease.import_id, imports.c.lease_token == lease.token)
        .values(lease_token=None, lease_until=func.now())
    )


async def finish(session: TenantSession, lease: Lease, *, failure: str = "") -> None:
    """End the import, as failed when there is a failure to tell, and drop its file. The lease must be fenced."""
    status = ImportStatus.FAILED if failure else ImportStatus.COMPLETED
    await session.execute(
        update(imports)
        .where(imports.c.id == lease.import_id)
        .values(
            status=status.value,
            failure=failure,
            completed_at=func.now(),
            lease_token=None,
            lease_until=None,
        )
    )
    await session.execute(delete(import_parts).where(import_parts.c.import_id == lease.import_id))
