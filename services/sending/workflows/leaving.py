"""Leaving a workflow otherwise than on one's way: taken out by hand, or since the workflow is archived."""

from collections import Counter, defaultdict
from collections.abc import Collection
from uuid import UUID

from sqlalchemy import text

from chassis.database import TenantSession
from flownurture.workflows.v1.events_pb2 import EndedEnrollment, EnrollmentsEnded
from services.sending.workflows.counts import Count, add_counts
from services.sending.workflows.enrollments import Cause

# Whoever is moving them is waited for; and if that took them out, they stay as they left.
_LEAVE = text("""
    WITH place AS (
        DELETE FROM enrollment_places WHERE enrollment_id = ANY(CAST(:ids AS uuid[]))
        RETURNING enrollment_id, version, step_id, visit, traced, greatest(since, clock_timestamp()) AS left_at
    ), traced AS (
        INSERT INTO enrollment_trace (enrollment_id, number, version, step_id, visit, at, why)
        SELECT enrollment_id, traced + 1, version, step_id, visit, left_at, :why FROM place
    )
    UPDATE enrollments SET ended_at = place.left_at, cause = :cause
    FROM place WHERE enrollments.id = place.enrollment_id
    RETURNING enrollments.id, enrollments.workflow_id, enrollments.contact_id, place.version, place.step_id, place.left_at
""")
# What somebody else has is left to the next set.
_SOME = text("""
    SELECT enrollment_id FROM enrollment_places WHERE workflow_id = :workflow_id
    ORDER BY wake_at LIMIT :most FOR UPDATE SKIP LOCKED
""")


async def take_out(session: TenantSession, enrollment_id: UUID) -> None:
    """Let somebody leave by hand, if they are under way."""
    await _leave(session, [enrollment_id], Cause.BY_HAND, "taken out by hand")


async def leave_archived(session: TenantSession, workflow_id: UUID, most: int) -> int:
    """Let up to so many leave a workflow that is archived; answers how many did. At most 500, as an event holds."""
    found = await session.execute(_SOME, {"workflow_id": workflow_id, "most": most})
    ids = list(found.scalars())
    if ids:
        await _leave(session, ids, Cause.ARCHIVED, "the workflow was archived")
    return len(ids)


async def _leave(session: TenantSession, ids: Collection[UUID], cause: Cause, why: str) -> None:
    left = await session.execute(_LEAVE, {"ids": list(ids), "cause": cause.value, "why": why})
    by_workflow: defaultdict[UUID, list[EndedEnrollment]] = defaultdict(list)
    counts: defaultdict[UUID, Counter[Count]] = defaultdict(Counter)
    for row in left:
        ended = EndedEnrollment(enrollment_id=str(row.id), contact_id=str(row.contact_id), cause=cause.value)
        ended.ended_at.FromDatetime(row.left_at)
        by_workflow[row.workflow_id].append(ended)
        counts[row.workflow_id][Count(row.version, row.step_id, cause.value)] += 1
    for workflow_id, ended_ones in by_workflow.items():
        session.publish(EnrollmentsEnded(workflow_id=str(workflow_id), enrollments=ended_ones))
        await add_counts(session, workflow_id, counts[workflow_id])
