"""Taking somebody out of a workflow by hand."""

from uuid import UUID

from sqlalchemy import text

from chassis.database import TenantSession
from flownurture.workflows.v1.events_pb2 import EndedEnrollment, EnrollmentsEnded
from services.sending.workflows.counts import Count, add_counts
from services.sending.workflows.enrollments import Cause

# Whoever is moving them is waited for; and if that took them out, they stay as they left.
_LEAVE = text("""
    WITH place AS (
        DELETE FROM enrollment_places WHERE enrollment_id = :enrollment_id
        RETURNING enrollment_id, version, step_id, visit, traced, greatest(since, clock_timestamp()) AS left_at
    ), traced AS (
        INSERT INTO enrollment_trace (enrollment_id, number, version, step_id, visit, at, why)
        SELECT enrollment_id, traced + 1, version, step_id, visit, left_at, 'taken out by hand' FROM place
    )
    UPDATE enrollments SET ended_at = place.left_at, cause = :cause
    FROM place WHERE enrollments.id = place.enrollment_id
    RETURNING enrollments.workflow_id, enrollments.contact_id, place.version, place.step_id, place.left_at
""")


async def take_out(session: TenantSession, enrollment_id: UUID) -> None:
    """Let somebody leave, if they are under way."""
    left = await session.execute(_LEAVE, {"enrollment_id": enrollment_id, "cause": Cause.BY_HAND.value})
    row = left.one_or_none()
    if row is None:
        return
    ended = EndedEnrollment(
        enrollment_id=str(enrollment_id), contact_id=str(row.contact_id), cause=Cause.BY_HAND.value
    )
    ended.ended_at.FromDatetime(row.left_at)
    session.publish(EnrollmentsEnded(workflow_id=str(row.workflow_id), enrollments=[ended]))
    await add_counts(session, row.workflow_id, {Count(row.version, row.step_id, Cause.BY_HAND.value): 1})
