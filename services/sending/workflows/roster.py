"""Who is, or was, in a workflow, as its organization sees it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Select, and_, select

from chassis.database import TenantSession
from chassis.errors import NotFound
from services.sending.tables import enrollment_places, enrollment_trace, enrollments, workflows

MOST_LINES = 500


class EnrollmentStatus(StrEnum):
    """Whether somebody is in it still."""

    UNDER_WAY = "under_way"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where somebody is."""

    version: int
    step_id: str
    since: datetime
    waiting: bool
    wake_at: datetime
    # Why a step that is due was not taken yet.
    held: str


@dataclass(frozen=True, slots=True)
class KnownEnrollment:
    """One time of a contact in a workflow."""

    id: UUID
    workflow_id: UUID
    contact_id: UUID
    source: str
    began_at: datetime
    ended_at: datetime | None
    cause: str
    reason: str
    # Of one that is under way.
    place: Whereabouts | None


@dataclass(frozen=True, slots=True)
class Line:
    """What became of one visit of a step."""

    version: int
    step_id: str
    visit: int
    at: datetime
    why: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which enrollments a list is narrowed to."""

    status: EnrollmentStatus | None = None
    contact_id: UUID | None = None
    # Those who are there now.
    step_id: str = ""


async def page_enrollments(
    session: TenantSession, workflow_id: UUID, wanted: Wanted, *, before: UUID | None, size: int
) -> list[KnownEnrollment]:
    """Up to `size` enrollments, newest first, that are older than `before`. Raises NotFound for the workflow."""
    if await session.scalar(select(workflows.c.id).where(workflows.c.id == workflow_id)) is None:
        raise NotFound(f"workflow as {workflow_id}")
    page = _enrollments(workflow_id).order_by(enrollments.c.id.desc()).limit(size)
    if before is not None:
        page = page.where(enrollments.c.id < before)
    if wanted.status is not None:
        under_way = enrollments.c.ended_at.is_(None)
        page = page.where(under_way if wanted.status is EnrollmentStatus.UNDER_WAY else ~under_way)
    if wanted.contact_id is not None:
        page = page.where(enrollments.c.contact_id == wanted.contact_id)
    if wanted.step_id:
        page = page.where(enrollment_places.c.step_id == wanted.step_id)
    return [_enrollment(row) for row in await session.execute(page)]


async def get_enrollment(session: TenantSession, workflow_id: UUID, enrollment_id: UUID) -> KnownEnrollment:
    """The enrollment in that workflow. Raises NotFound."""
    found = await get_enrollments(session, workflow_id, [enrollment_id])
    if enrollment_id not in found:
        raise NotFound(f"enrollment as {enrollment_id}")
    return found[enrollment_id]


async def get_enrollments(
    session: TenantSession, workflow_id: UUID, ids: Collection[UUID]
) -> Mapping[UUID, KnownEnrollment]:
    """Those of them that are, or were, in that workflow."""
    found = await session.execute(_enrollments(workflow_id).where(enrollments.c.id.in_(ids)))
    return {row.id: _enrollment(row) for row in found}


async def trace_of(session: TenantSession, enrollment_id: UUID) -> Sequence[Line]:
    """What became of each step, oldest first: the last `MOST_LINES`."""
    newest = (
        select(*(enrollment_trace.c[name] for name in Line.__dataclass_fields__))
        .where(enrollment_trace.c.enrollment_id == enrollment_id)
        .order_by(enrollment_trace.c.number.desc())
        .limit(MOST_LINES)
    )
    return [Line(**row) for row in (await session.execute(newest)).mappings()][::-1]


def _enrollments(workflow_id: UUID) -> Select[Any]:
    place = and_(
        enrollment_places.c.organization_id == enrollments.c.organization_id,
        enrollment_places.c.enrollment_id == enrollments.c.id,
    )
    return (
        select(
            *(enrollments.c[name] for name in KnownEnrollment.__dataclass_fields__ if name != "place"),
            *(enrollment_places.c[name] for name in Whereabouts.__dataclass_fields__),
        )
        .outerjoin(enrollment_places, place)
        .where(enrollments.c.workflow_id == workflow_id)
    )


def _enrollment(row: Row[Any]) -> KnownEnrollment:
    place = None
    if row.step_id is not None:
        place = Whereabouts(row.version, row.step_id, row.since, row.waiting, row.wake_at, row.held)
    return KnownEnrollment(
        row.id,
        row.workflow_id,
        row.contact_id,
        row.source,
        row.began_at,
        row.ended_at,
        row.cause or "",
        row.reason,
        place,
    )
