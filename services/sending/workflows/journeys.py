"""How far an enrollment comes while we have it: where it is now, what is to be told of the way, and what it asks of others."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from flownurture.contacts.v1.segments_pb2 import Rule
from flownurture.sending.v1 import workflows_pb2 as pb
from services.sending.workflows.claims import Claimed
from services.sending.workflows.counts import TAKEN, Count
from services.sending.workflows.enrollments import Ended, Place, Ready
from services.sending.workflows.interpreter import Advance, Circumstances, Effect, Trace, advance, questions
from services.sending.workflows.programs import Program

SEND = "send_email"
# What a step does to its contact, which the contacts service carries out.
CHANGES = frozenset(("add_tag", "remove_tag", "add_to_list", "remove_from_list", "set_field"))


class Held(StrEnum):
    """Why a step that is due is not taken yet."""

    # What a step before it ordered of the contacts service is not carried out yet.
    CHANGE = "change"
    # Too much of the organization's mail of late bounced or led to complaints.
    REPUTATION = "reputation"
    QUIET_HOURS = "quiet_hours"
    FREQUENCY_CAP = "frequency_cap"
    # The plan's e-mails of this billing cycle are used up.
    EMAIL_LIMIT = "email_limit"
    # It failed, and is tried again.
    FAILURE = "failure"


@dataclass(slots=True)
class Journey:
    """A claimed enrollment on its way. What is not written down has not happened."""

    claimed: Claimed
    program: Program
    place: Place
    traces: list[Trace] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    counts: Counter[Count] = field(default_factory=Counter)
    held: Held | None = None
    held_until: datetime | None = None

    @classmethod
    def of(cls, claimed: Claimed, program: Program) -> "Journey":
        """It has not gone anywhere yet."""
        return cls(claimed, program, claimed.place)

    @property
    def id(self) -> UUID:
        """The enrollment's."""
        return self.claimed.enrollment.id

    @property
    def step(self) -> pb.WorkflowStep:
        """The step that it is before or in."""
        return self.program.version.step(self.place.step_id)

    @property
    def questions(self) -> Mapping[str, Rule]:
        """The rules that have to be answered before it goes on."""
        return questions(self.program.version, self.place)

    @property
    def takes_contact(self) -> bool:
        """Whether it has to be known who the contact is now before it goes on."""
        if not isinstance(self.place, Ready):
            return False
        clock = self.step.wait.time_of_day.clock
        return self.step.HasField("send_email") or clock == pb.CLOCK_CONTACT or bool(self.questions)

    @property
    def change(self) -> Effect | None:
        """What it orders of the contacts service. Once a commit, so that orders stay in their order."""
        return next((effect for effect in self.effects if effect.kind in CHANGES), None)

    @property
    def goes_on(self) -> bool:
        """Whether more can follow at once: the step ahead does not depend on a change that is not even ordered."""
        if not isinstance(self.place, Ready):
            return False
        depends = self.takes_contact or self.step.WhichOneof("action") in CHANGES
        return self.change is None or not depends

    def ahead(self, now: Circumstances) -> Advance:
        """What follows from where it is. Raises Unanswered."""
        return advance(self.program.version, self.claimed.enrollment, self.place, now)

    def accept(self, ahead: Advance) -> None:
        """Go there."""
        before, self.place = self.place, ahead.place
        if ahead.trace is not None:
            self.traces.append(ahead.trace)
        if ahead.effect is not None:
            self.effects.append(ahead.effect)
        number = self.claimed.enrollment.version
        if isinstance(ahead.place, Ended):
            self.counts[Count(number, before.step_id, ahead.place.cause, ahead.place.reason)] += 1
        elif ahead.place.visit != before.visit:
            self.counts[Count(number, before.step_id, TAKEN)] += 1

    def hold(self, why: Held, until: datetime) -> None:
        """Stay, and look again then."""
        self.held, self.held_until = why, until
