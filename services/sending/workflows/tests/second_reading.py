"""What docs/workflows.md says follows for a contact, written anew for tests: plain, slow, and with nothing of the interpreter in it.

Whoever runs workflows and whoever simulates them share one interpreter, so that a mistake in it would be made by both. Held against this
one it would have to be made twice.
"""

import hmac
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from uuid import UUID, uuid5
from zoneinfo import ZoneInfo

from google.protobuf.message import Message

from flownurture.contacts.v1.segments_pb2 import Rule
from flownurture.sending.v1 import workflows_pb2 as pb
from services.sending.workflows.events import Event

_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True)
class Where:
    """A contact before a step; in a wait, where there is an `until`; out of the workflow, where there is a cause for which they `left`."""

    step_id: str
    visit: int
    since: datetime
    until: datetime | None = None
    left: tuple[str, str] | None = None


@dataclass(frozen=True)
class Who:
    """Whose time in the workflow it is."""

    enrollment_id: UUID
    contact_id: UUID
    began_at: datetime


@dataclass(frozen=True)
class Now:
    """What is so, and what came, if anything did."""

    moment: datetime
    zone: ZoneInfo
    suppressed: str | None
    event: Event | None
    fits: Callable[[Rule], bool]


@dataclass(frozen=True)
class Then:
    """Where they are then, what is done, and whether there is anything to tell."""

    where: Where
    effect: tuple[str, UUID] | None = None
    told: bool = True


def read(document: pb.WorkflowDocument, who: Who, where: Where, now: Now) -> Then:
    """What follows, one step at most."""
    if where.left:
        return Then(where, told=False)
    at = max(now.moment, where.since)
    if now.suppressed:
        return _leave(where, at, "suppressed", now.suppressed)
    for cause, condition in _conditions(document):
        if _is_met(condition, who, where, now):
            return _leave(where, at, cause)
    if where.until is not None:
        return _go_on(document, who, where, now)
    return _take(document, who, where, now) if now.event is None else Then(where, told=False)


def awaits(document: pb.WorkflowDocument) -> Iterator[pb.WorkflowEvent]:
    """All events that may end a wait in it, or the whole."""
    for step in document.steps:
        if step.wait.HasField("event"):
            yield step.wait.event.happens
    for _, condition in _conditions(document):
        if condition.HasField("event"):
            yield condition.event


def is_meant(wanted: Message, choice: str, event: Event) -> bool:
    """Whether the event is the one that a trigger or a wait names; one that names nothing means any of its kind."""
    kind = wanted.WhichOneof(choice)
    if kind != str(event.kind):
        return False
    named = getattr(wanted, kind)
    if isinstance(named, pb.FieldReference):
        return event.of == f"custom_fields.{named.custom_field}"
    return [value for _, value in named.ListFields()] in ([], [event.of])


def _go_on(document: pb.WorkflowDocument, who: Who, where: Where, now: Now) -> Then:
    """Out of a wait, or on waiting."""
    at, wait, event = max(now.moment, where.since), _step(document, where).wait, now.event
    until = where.until or at
    if event is None and now.moment >= until:
        return _on(document, where, at, wait.event.otherwise)
    if event is None or not wait.HasField("event") or not where.since <= event.occurred_at < until:
        return Then(where, told=False)
    ends = _is_theirs(who, event) and is_meant(wait.event.happens, "event", event)
    return _on(document, where, at) if ends else Then(where, told=False)


def _take(document: pb.WorkflowDocument, who: Who, where: Where, now: Now) -> Then:
    step, at = _step(document, where), max(now.moment, where.since)
    if step.HasField("wait"):
        return Then(replace(where, since=at, until=_until(step.wait, at, now.zone)))
    if step.HasField("branch"):
        fitting = (way.step_id for way in step.branch.ways if now.fits(way.rule))
        return _on(document, where, at, next(fitting, step.branch.otherwise))
    if step.HasField("split"):
        lot = hmac.new(who.enrollment_id.bytes, step.id.encode(), "sha256").digest()
        hundredth = int.from_bytes(lot[:8], "big") * 100 // 2**64
        reached = 0
        for way in step.split.ways:
            reached += way.share_percent
            if hundredth < reached:
                return _on(document, where, at, way.step_id)
    if step.HasField("go_to"):
        return _on(document, where, at, step.go_to.step_id)
    if step.HasField("exit"):
        return _leave(where, at, "exit_step", step.exit.reason)
    done = next(field.name for field, _ in step.ListFields() if field.name != "id")
    effect_id = uuid5(who.enrollment_id, f"{where.visit} {step.id}")
    return replace(_on(document, where, at), effect=(done, effect_id))


def _step(document: pb.WorkflowDocument, where: Where) -> pb.WorkflowStep:
    return next(step for step in document.steps if step.id == where.step_id)


def _conditions(document: pb.WorkflowDocument) -> Iterator[tuple[str, pb.WorkflowCondition]]:
    if document.HasField("goal"):
        yield "goal", document.goal
    for condition in document.exit_when:
        yield "exit_condition", condition


def _is_met(condition: pb.WorkflowCondition, who: Who, where: Where, now: Now) -> bool:
    if condition.HasField("rule"):
        return now.event is None and where.until is None and now.fits(condition.rule)
    return (
        now.event is not None
        and is_meant(condition.event, "event", now.event)
        and _is_theirs(who, now.event)
        and now.event.occurred_at >= who.began_at
    )


def _is_theirs(who: Who, event: Event) -> bool:
    return event.contact_id == who.contact_id and event.enrollment_id in (None, who.enrollment_id)


def _leave(where: Where, at: datetime, cause: str, reason: str = "") -> Then:
    return Then(Where(where.step_id, where.visit, at, left=(cause, reason)))


def _on(document: pb.WorkflowDocument, where: Where, at: datetime, named: str = "") -> Then:
    ids = [step.id for step in document.steps]
    return Then(Where(named or ids[ids.index(where.step_id) + 1], where.visit + 1, at))


def _until(wait: pb.Wait, at: datetime, zone: ZoneInfo) -> datetime:
    if wait.HasField("time_of_day"):
        of_contact = wait.time_of_day.clock == pb.CLOCK_CONTACT
        return _when_clocks_show(wait.time_of_day.time, at, zone if of_contact else ZoneInfo("UTC"))
    span = wait.duration if wait.HasField("duration") else wait.event.time_limit
    return at + timedelta(minutes=(span.days * 24 + span.hours) * 60 + span.minutes)


@lru_cache(10_000)
def _when_clocks_show(wanted: str, after: datetime, zone: ZoneInfo) -> datetime:
    """Look at the clocks minute by minute; where they jump over the time, at those of three hours before."""
    moment = after.astimezone(UTC).replace(second=0, microsecond=0)
    while True:
        moment += _MINUTE
        shown = moment.astimezone(zone)
        if f"{shown:%H:%M}" == wanted and not shown.fold:
            return moment
        before = (moment - timedelta(hours=3)).astimezone(zone).utcoffset()
        as_before = (moment + (before or timedelta())).replace(tzinfo=zone)
        is_left_out = as_before.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != as_before.replace(
            tzinfo=None
        )
        if f"{as_before:%H:%M}" == wanted and is_left_out:
            return moment
