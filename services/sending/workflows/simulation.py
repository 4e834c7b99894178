"""Walking a contact through a workflow by the rules by which it runs, at moments that are made up; nothing is written or sent."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from chassis.errors import FieldViolation, InvalidRequest
from flownurture.sending.v1 import workflows_pb2 as pb
from services.sending.statuses import SuppressionReason
from services.sending.workflows.clock_times import Clocks
from services.sending.workflows.documents import Version
from services.sending.workflows.enrollments import Ended, Enrollment, Place, enroll
from services.sending.workflows.events import Event
from services.sending.workflows.interpreter import Advance, Circumstances, advance

MOST_STEPS = 1_000


@dataclass(frozen=True, slots=True)
class Traveller:
    """A contact as they are now."""

    contact_id: UUID
    clocks: Clocks
    suppressed: SuppressionReason | None
    # Whether the rules of the document fit, by their paths.
    answers: Mapping[str, bool]


@dataclass(frozen=True, slots=True)
class Simulation:
    """What became of each step, and how it ended; None where it goes on beyond `MOST_STEPS`, or the years that there are."""

    steps: Sequence[Advance]
    end: Ended | None


@dataclass(slots=True)
class _Walk:
    version: Version
    enrollment: Enrollment
    traveller: Traveller
    ahead: deque[Event]
    place: Place
    steps: list[Advance] = field(default_factory=list)

    def go(self) -> Simulation:
        try:
            while not isinstance(self.place, Ended) and len(self.steps) < MOST_STEPS:
                self._go_on()
        except OverflowError:
            # Waits beyond the year 9999.
            return Simulation(self.steps, None)
        return Simulation(self.steps, self.place if isinstance(self.place, Ended) else None)

    def _go_on(self) -> None:
        """What comes next: an event, a step, or the end of a wait."""
        wake_at = self.place.wake_at
        if self.ahead and wake_at is not None and self.ahead[0].occurred_at <= wake_at:
            event = self.ahead.popleft()
            self._take(event.occurred_at, event)
        elif wake_at is not None:
            self._take(wake_at, None)

    def _take(self, moment: datetime, event: Event | None) -> None:
        now = Circumstances(
            moment, self.traveller.clocks, self.traveller.suppressed, event, self.traveller.answers
        )
        advanced = advance(self.version, self.enrollment, self.place, now)
        self.place = advanced.place
        if advanced.trace is not None:
            self.steps.append(advanced)


def simulate(
    version: Version, traveller: Traveller, at: datetime, events: Sequence[Event], enrollment_id: UUID
) -> Simulation:
    """Let the traveller come in at a moment, and go on until the end or `MOST_STEPS`. Events are about them and this enrollment."""
    enrollment, place = enroll(version, enrollment_id, traveller.contact_id, at)
    ahead = deque(sorted(events, key=lambda event: event.occurred_at))
    return _Walk(version, enrollment, traveller, ahead, place).go()


def with_choices(
    document: pb.WorkflowDocument, choices: Mapping[str, int]
) -> tuple[pb.WorkflowDocument, Mapping[str, bool]]:
    """The document and the answers to rules by which these ways are taken, by the ids of their steps.

    Raises InvalidRequest for a step that has no such way.
    """
    chosen = pb.WorkflowDocument()
    chosen.CopyFrom(document)
    answers: dict[str, bool] = {}
    unknown = dict(choices)
    for index, step in enumerate(chosen.steps):
        if step.id not in choices:
            continue
        way = choices[step.id]
        if step.HasField("branch") and way <= len(step.branch.ways):
            path = f"steps[{index}].branch.ways"
            answers |= {f"{path}[{each}].rule": each == way for each in range(len(step.branch.ways))}
        elif step.HasField("split") and way < len(step.split.ways):
            for each, share in enumerate(step.split.ways):
                share.share_percent = 100 if each == way else 0
        else:
            continue
        del unknown[step.id]
    if unknown:
        wrong = (FieldViolation("choices", f"{step_id!r} has no such way") for step_id in unknown)
        raise InvalidRequest(*wrong)
    return chosen, answers
