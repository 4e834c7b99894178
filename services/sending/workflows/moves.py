"""The explicit choice: those under way by one version of a workflow go on by another, at the step of the same id.

Whoever is at a step that the other version does not have, or has as another kind, stays on theirs. A wait that has begun keeps its wake time.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text

from chassis.context import RequestContext
from chassis.database import Database, TenantSession
from chassis.errors import Conflict
from flownurture.sending.v1 import workflows_pb2 as pb
from services.sending.workflows.documents import Version
from services.sending.workflows.lifecycle import WorkflowStatus, get_version, get_workflow
from services.sending.workflows.versions import Numbered, read_versions

# Of a set, which is a transaction; and of a call, which says whether there are more.
_SIZE = 1_000
_MOST_SETS = 10

_WHERE = text("""
    SELECT version, step_id, count(*) AS enrollments FROM enrollment_places
    WHERE workflow_id = :workflow_id AND version <> :version GROUP BY version, step_id ORDER BY version, step_id
""")
# In one order, so that two sets cannot wait for each other in a circle. Whoever takes a step of theirs meanwhile is waited for, and looked at again.
_MOVE = text("""
    WITH held AS (
        SELECT place.enrollment_id FROM enrollment_places AS place
        JOIN unnest(CAST(:versions AS integer[]), CAST(:step_ids AS text[])) AS given (version, step_id)
            ON place.version = given.version AND place.step_id = given.step_id
        WHERE place.workflow_id = :workflow_id
        ORDER BY place.enrollment_id LIMIT :size FOR UPDATE OF place
    ), moved AS (
        UPDATE enrollment_places AS place SET version = :version, traced = traced + 1
        FROM held WHERE place.enrollment_id = held.enrollment_id
        RETURNING place.enrollment_id, place.traced, place.step_id, place.visit, place.since
    )
    INSERT INTO enrollment_trace (enrollment_id, number, version, step_id, visit, at, why)
    SELECT enrollment_id, traced, :version, step_id, visit, greatest(since, now()), :why FROM moved
""")


@dataclass(frozen=True, slots=True)
class At:
    """A step of a version."""

    version: int
    step_id: str


@dataclass(frozen=True, slots=True)
class Staying:
    """How many stay at a step, and why."""

    at: At
    enrollments: int
    why: str


@dataclass(frozen=True, slots=True)
class Moved:
    """How many were moved, who stays, and whether there may be more to be moved by another call."""

    to_version: int
    enrollments: int
    staying: Sequence[Staying]
    more: bool


@dataclass(frozen=True, slots=True)
class Choice:
    """Who is to be moved: by version and step, None for any; and to which version, None for the newest."""

    from_version: int | None
    to_version: int | None
    step_ids: Collection[str]

    def means(self, at: At) -> bool:
        """Whether those who are there are meant."""
        return self.from_version in (None, at.version) and (not self.step_ids or at.step_id in self.step_ids)


async def move(database: Database, context: RequestContext, workflow_id: UUID, choice: Choice) -> Moved:
    """Move them, in sets, up to 10,000 of them a call. Raises NotFound, Conflict when the workflow does not run."""
    async with database.tenant_transaction(context, read_only=True) as session:
        workflow = await get_workflow(session, workflow_id)
        if workflow.status not in (WorkflowStatus.ACTIVE, WorkflowStatus.PAUSED):
            raise Conflict("Nobody is under way in it.")
        to_version = choice.to_version or workflow.version
        await get_version(session, workflow_id, to_version)
        moving, staying = await _sorted(session, workflow_id, to_version, choice)
    moved = 0
    for _ in range(_MOST_SETS if moving else 0):
        async with database.tenant_transaction(context) as session:
            size = await _move(session, workflow_id, to_version, moving)
        moved += size
        # Not when a set is small: whoever took a step meanwhile is no longer where they were.
        if not size:
            return Moved(to_version, moved, staying, more=False)
    return Moved(to_version, moved, staying, more=bool(moving))


def reason_to_stay(here: pb.WorkflowStep, there: pb.WorkflowStep | None) -> str:
    """Why those at a step cannot go on at the one of the same id in another version; empty when they can."""
    if there is None:
        return "there is no such step"
    return "" if _kind(here) == _kind(there) else "the step is of another kind"


def _kind(step: pb.WorkflowStep) -> tuple[str | None, str | None]:
    # A wait that has begun ends as it began: by time, or by an event.
    return step.WhichOneof("action"), step.wait.WhichOneof("until")


async def _sorted(
    session: TenantSession, workflow_id: UUID, to_version: int, choice: Choice
) -> tuple[list[At], list[Staying]]:
    rows = await session.execute(_WHERE, {"workflow_id": workflow_id, "version": to_version})
    found = {At(row.version, row.step_id): int(row.enrollments) for row in rows}
    meant = {at: number for at, number in found.items() if choice.means(at)}
    numbered: set[Numbered] = {(workflow_id, at.version) for at in meant} | {(workflow_id, to_version)}
    versions = await read_versions(session, list(numbered))
    target = versions[workflow_id, to_version]
    moving, staying = [], []
    for at, number in meant.items():
        here = versions[workflow_id, at.version].step(at.step_id)
        why = reason_to_stay(here, _step(target, at.step_id))
        if why:
            staying.append(Staying(at, number, why))
        else:
            moving.append(at)
    return moving, staying


def _step(version: Version, step_id: str) -> pb.WorkflowStep | None:
    return version.step(step_id) if step_id in version.places else None


async def _move(session: TenantSession, workflow_id: UUID, to_version: int, moving: Sequence[At]) -> int:
    moved = await session.execute(
        _MOVE,
        {
            "workflow_id": workflow_id,
            "versions": [at.version for at in moving],
            "step_ids": [at.step_id for at in moving],
            "version": to_version,
            "size": _SIZE,
            "why": f"moved to version {to_version}",
        },
    )
    return int(moved.rowcount)
