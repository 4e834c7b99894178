"""What follows, for one contact in a workflow: from where they are, the moment, and what came.

A plain function: no clock, no chance, nothing read or written. Whoever runs it commits the place that it answers with together with the
effects; then a run that is cut off anywhere and taken up again does what one that is not would have done, since an effect has its id from
the enrollment and the visit of the step alone.
"""

import hmac
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import accumulate
from typing import TypeAlias
from uuid import UUID, uuid5

from flownurture.contacts.v1.segments_pb2 import Rule
from flownurture.sending.v1 import workflows_pb2 as pb
from services.sending.statuses import SuppressionReason
from services.sending.workflows.clock_times import Clocks, next_time_of_day
from services.sending.workflows.documents import Version
from services.sending.workflows.enrollments import Cause, Ended, Enrollment, Place, Ready, Waiting
from services.sending.workflows.events import Event, is_awaited

Action: TypeAlias = (
    pb.SendEmail | pb.TagReference | pb.ListReference | pb.SetField | pb.CallWebhook | pb.NotifyMember
)


class OtherVersion(ValueError):
    """An enrollment was to go on by a version that it did not begin with."""


class Unanswered(LookupError):
    """A rule was to be gone by of which nobody has said whether it fits; `questions` tells them beforehand."""


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What is so at a moment, as far as it matters to one contact."""

    moment: datetime
    clocks: Clocks
    # Why no mail may go to the contact; `erased` when there is no such contact any more.
    suppressed: SuppressionReason | None = None
    # What happened; None when it is time alone that went by.
    event: Event | None = None
    # Whether the rules fit the contact, by their paths.
    answers: Mapping[str, bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Effect:
    """Something to be done to the world, once for its id."""

    # UUIDv5 (RFC 9562 §5.5) of the visit's number and the step's id, in the name space of the enrollment's id.
    id: UUID
    step_id: str
    # What, by the name that the step has for it, and how.
    kind: str
    action: Action


@dataclass(frozen=True, slots=True)
class Trace:
    """What became of one visit of a step, for whoever wants to know why."""

    step_id: str
    visit: int
    at: datetime
    why: str


@dataclass(frozen=True, slots=True)
class Advance:
    """Where the contact is now, what is to be done, and what is to be told; of nothing, when nothing follows."""

    place: Place
    effect: Effect | None = None
    trace: Trace | None = None


def questions(version: Version, place: Place) -> Mapping[str, Rule]:
    """The rules, by their paths, that have to be answered before the step is taken; none where no step is to be taken."""
    if not isinstance(place, Ready):
        return {}
    asked = {path: condition.rule for path, condition in _conditions(version) if condition.HasField("rule")}
    step = version.step(place.step_id)
    for index, way in enumerate(step.branch.ways):
        asked[_way_path(version, step, index)] = way.rule
    return asked


def advance(version: Version, enrollment: Enrollment, place: Place, now: Circumstances) -> Advance:
    """What follows. At most one step is taken, so go on until there is nothing to be traced.

    A suppression comes before the goal, that before the exit conditions, and these before what the step says. Where an event comes, it
    is looked at whether it ends the enrollment or a wait, and no step is taken. Time in an enrollment never goes back.
    Raises OtherVersion and Unanswered.
    """
    if enrollment.version != version.number:
        raise OtherVersion(f"{enrollment.id} began with version {enrollment.version}, not {version.number}")
    if isinstance(place, Ended):
        return Advance(place)
    visit = _Visit(version, enrollment, place, now)
    return visit.leave() or (visit.take() if isinstance(place, Ready) else visit.go_on(place))


def lot(enrollment_id: UUID, step_id: str) -> int:
    """From 0 to 99, each as likely: a contact's lot at a step, the same for the whole of the enrollment."""
    drawn = hmac.digest(enrollment_id.bytes, step_id.encode(), sha256)
    return int.from_bytes(drawn[:8]) * 100 >> 64


def _conditions(version: Version) -> Iterator[tuple[str, pb.WorkflowCondition]]:
    """What ends an enrollment, the goal first; each by the path that its rule has."""
    if version.document.HasField("goal"):
        yield "goal.rule", version.document.goal
    for index, condition in enumerate(version.document.exit_when):
        yield f"exit_when[{index}].rule", condition


def _way_path(version: Version, step: pb.WorkflowStep, index: int) -> str:
    return f"steps[{version.places[step.id]}].branch.ways[{index}].rule"


def _length(span: pb.Span) -> timedelta:
    return timedelta(days=span.days, hours=span.hours, minutes=span.minutes)


class _Visit:
    """A contact at a step, and what is so at that moment."""

    def __init__(
        self, version: Version, enrollment: Enrollment, place: Ready | Waiting, now: Circumstances
    ) -> None:
        self._version, self._enrollment, self._place, self._now = version, enrollment, place, now
        self._at = max(now.moment, place.since)
        self._step = version.step(place.step_id)

    def leave(self) -> Advance | None:
        """Out of the workflow, where something has come that ends it."""
        if self._now.suppressed is not None:
            return self._end(Cause.SUPPRESSED, "no mail may go to the contact", self._now.suppressed)
        for path, condition in _conditions(self._version):
            if self._holds(path, condition):
                cause = Cause.GOAL if path == "goal.rule" else Cause.EXIT_CONDITION
                met = "what it says has happened" if condition.HasField("event") else "its rule fits"
                return self._end(cause, f"{path.removesuffix('.rule')}: {met}")
        return None

    def take(self) -> Advance:
        """The step, where it is time alone that went by."""
        if self._now.event is not None:
            return Advance(self._place)
        kind = str(self._step.WhichOneof("action"))
        turns = {
            "wait": self._begin_wait,
            "branch": self._branch,
            "split": self._split,
            "go_to": self._go_to,
            "exit": self._exit,
        }
        return turns[kind]() if kind in turns else self._act(kind)

    def go_on(self, waiting: Waiting) -> Advance:
        """Out of the wait, if its time has come or what it waits for has happened in time."""
        wait = self._step.wait
        if self._now.event is not None:
            if self._happened(wait.event.happens) and self._now.event.occurred_at < waiting.wake_at:
                return self._move(f"{self._now.event.kind} happened")
        elif self._now.moment >= waiting.wake_at:
            if wait.WhichOneof("until") == "event":
                return self._move("it did not happen in time", wait.event.otherwise)
            return self._move("the time has come")
        return Advance(waiting)

    def _begin_wait(self) -> Advance:
        wait = self._step.wait
        match wait.WhichOneof("until"):
            case "duration":
                wake_at, until = self._at + _length(wait.duration), "until"
            case "time_of_day":
                wake_at, until = next_time_of_day(wait.time_of_day, self._at, self._now.clocks), "until"
            case _:
                wake_at = self._at + _length(wait.event.time_limit)
                until = f"for {wait.event.happens.WhichOneof('event')}, at the latest until"
        waiting = Waiting(self._step.id, self._place.visit, self._at, wake_at)
        why = f"waits {until} {wake_at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
        return Advance(waiting, trace=self._trace(why))

    def _branch(self) -> Advance:
        for index, way in enumerate(self._step.branch.ways):
            if self._answer(_way_path(self._version, self._step, index)):
                return self._move(f"the rule of ways[{index}] fits", way.step_id)
        return self._move("no rule fits", self._step.branch.otherwise)

    def _split(self) -> Advance:
        drawn, ways = lot(self._enrollment.id, self._step.id), self._step.split.ways
        index = bisect_right(list(accumulate(way.share_percent for way in ways)), drawn)
        return self._move(f"lot {drawn} of 100 is in ways[{index}]", ways[index].step_id)

    def _go_to(self) -> Advance:
        return self._move("goes on elsewhere", self._step.go_to.step_id)

    def _exit(self) -> Advance:
        return self._end(Cause.EXIT_STEP, "the end of the way", self._step.exit.reason)

    def _act(self, kind: str) -> Advance:
        effect_id = uuid5(self._enrollment.id, f"{self._place.visit} {self._step.id}")
        effect = Effect(effect_id, self._step.id, kind, getattr(self._step, kind))
        return self._move(kind, effect=effect)

    def _move(self, why: str, named: str = "", effect: Effect | None = None) -> Advance:
        """To the step that is named, or the one below."""
        ahead = self._version.after(self._step.id, named)
        ready = Ready(ahead, self._place.visit + 1, self._at)
        return Advance(ready, effect, self._trace(f"{why}: on to {ahead}"))

    def _end(self, cause: Cause, why: str, reason: str = "") -> Advance:
        ended = Ended(self._step.id, self._place.visit, self._at, cause, reason)
        return Advance(ended, trace=self._trace(why))

    def _trace(self, why: str) -> Trace:
        return Trace(self._step.id, self._place.visit, self._at, why)

    def _holds(self, path: str, condition: pb.WorkflowCondition) -> bool:
        """Whether a condition is met: a rule before a step is taken, an event when it happens."""
        if condition.HasField("event"):
            return self._happened(condition.event, since=self._enrollment.began_at)
        return self._now.event is None and isinstance(self._place, Ready) and self._answer(path)

    def _happened(self, awaited: pb.WorkflowEvent, since: datetime | None = None) -> bool:
        """Whether this is what came: to this contact, and not before it was waited for."""
        event = self._now.event
        if event is None or event.contact_id != self._enrollment.contact_id:
            return False
        if event.enrollment_id not in (None, self._enrollment.id):
            return False
        return event.occurred_at >= (since or self._place.since) and is_awaited(awaited, event)

    def _answer(self, path: str) -> bool:
        try:
            return self._now.answers[path]
        except KeyError:
            raise Unanswered(path) from None
