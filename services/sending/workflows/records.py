"""Writing down how far enrollments came: places, ends, traces and counts, in one round trip."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any
from uuid import UUID

from chassis.database import TenantSession
from flownurture.workflows.v1.events_pb2 import EndedEnrollment, EnrollmentsEnded
from services.sending.workflows.counts import Count, add_counts
from services.sending.workflows.enrollments import Ended, Ready, Waiting
from services.sending.workflows.journeys import Journey

_MOVE = """
    UPDATE enrollment_places AS place
    SET step_id = given.step_id, visit = given.visit, since = given.since, wake_at = given.wake_at, waiting = given.waiting,
        traced = given.traced, change_id = given.change_id, held = given.held
    FROM unnest(
        %(ids)s::uuid[], %(step_ids)s::text[], %(visits)s::integer[], %(sinces)s::timestamptz[], %(wake_ats)s::timestamptz[],
        %(waitings)s::boolean[], %(traceds)s::integer[], %(change_ids)s::uuid[], %(helds)s::text[]
    ) AS given (id, step_id, visit, since, wake_at, waiting, traced, change_id, held)
    WHERE place.enrollment_id = given.id
"""
_END = """
    WITH ended AS (
        UPDATE enrollments AS enrollment
        SET ended_at = given.ended_at, cause = given.cause, reason = given.reason,
            -- Of who is erased nothing is kept, whether or not the event that told of it came before they were in.
            email_digest = CASE WHEN given.cause <> 'suppressed' OR given.reason <> 'erased' THEN email_digest END
        FROM unnest(%(ids)s::uuid[], %(ended_ats)s::timestamptz[], %(causes)s::text[], %(reasons)s::text[])
            AS given (id, ended_at, cause, reason)
        WHERE enrollment.id = given.id
    )
    DELETE FROM enrollment_places WHERE enrollment_id = ANY(%(ids)s::uuid[])
"""
_TRACE = """
    INSERT INTO enrollment_trace (enrollment_id, number, version, step_id, visit, at, why)
    SELECT * FROM unnest(
        %(ids)s::uuid[], %(numbers)s::integer[], %(versions)s::integer[], %(step_ids)s::text[], %(visits)s::integer[],
        %(ats)s::timestamptz[], %(whys)s::text[]
    )
"""
_MOST_IN_AN_EVENT = 500


async def write_down(
    session: TenantSession, journeys: Sequence[Journey], change_ids: Mapping[UUID, UUID]
) -> None:
    """Write what became of enrollments that are claimed, at last in their transaction.

    `change_ids` are the events that order changes of their contacts, by enrollment.
    """
    moved = [(each, each.place) for each in journeys if not isinstance(each.place, Ended)]
    ended = [_End(each, each.place) for each in journeys if isinstance(each.place, Ended)]
    lines = list(_lines(journeys))
    async with session.driver.pipeline():
        if moved:
            rows = [_moved(journey, place, change_ids.get(journey.id)) for journey, place in moved]
            await session.driver.execute(_MOVE, _columns(rows))
        if ended:
            await session.driver.execute(_END, _columns([end.row for end in ended]))
        if lines:
            await session.driver.execute(_TRACE, _columns(lines))
        await _count(session, journeys)
    _tell(session, ended)


@dataclass(frozen=True, slots=True)
class _End:
    journey: Journey
    place: Ended

    @property
    def row(self) -> Mapping[str, Any]:
        return {
            "ids": self.journey.id,
            "ended_ats": self.place.since,
            "causes": self.place.cause.value,
            "reasons": str(self.place.reason),
        }


def _moved(journey: Journey, place: Ready | Waiting, change_id: UUID | None) -> Mapping[str, Any]:
    return {
        "ids": journey.id,
        "step_ids": place.step_id,
        "visits": place.visit,
        "sinces": place.since,
        "wake_ats": journey.held_until or place.wake_at,
        "waitings": isinstance(place, Waiting),
        "traceds": journey.claimed.traced + len(journey.traces),
        "change_ids": change_id or journey.claimed.change_id,
        "helds": journey.held.value if journey.held else "",
    }


def _lines(journeys: Sequence[Journey]) -> Iterator[Mapping[str, Any]]:
    for journey in journeys:
        for number, trace in zip(count(journey.claimed.traced + 1), journey.traces, strict=False):
            yield {
                "ids": journey.id,
                "numbers": number,
                "versions": journey.claimed.enrollment.version,
                "step_ids": trace.step_id,
                "visits": trace.visit,
                "ats": trace.at,
                "whys": trace.why,
            }


def _columns(rows: Sequence[Mapping[str, Any]]) -> Mapping[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in rows[0]}


async def _count(session: TenantSession, journeys: Sequence[Journey]) -> None:
    by_workflow: defaultdict[UUID, Counter[Count]] = defaultdict(Counter)
    for journey in journeys:
        by_workflow[journey.claimed.workflow_id].update(journey.counts)
    # In one order, so that two sets cannot wait for each other in a circle.
    for workflow_id, counts in sorted(by_workflow.items()):
        await add_counts(session, workflow_id, counts)


def _tell(session: TenantSession, ended: Sequence[_End]) -> None:
    by_workflow: defaultdict[UUID, list[_End]] = defaultdict(list)
    for end in ended:
        by_workflow[end.journey.claimed.workflow_id].append(end)
    for workflow_id, ends in by_workflow.items():
        for start in range(0, len(ends), _MOST_IN_AN_EVENT):
            told = map(_told, ends[start : start + _MOST_IN_AN_EVENT])
            session.publish(EnrollmentsEnded(workflow_id=str(workflow_id), enrollments=told))


def _told(end: _End) -> EndedEnrollment:
    told = EndedEnrollment(
        enrollment_id=str(end.journey.id),
        contact_id=str(end.journey.claimed.enrollment.contact_id),
        cause=end.place.cause.value,
        reason=str(end.place.reason),
    )
    told.ended_at.FromDatetime(end.place.since)
    return told
