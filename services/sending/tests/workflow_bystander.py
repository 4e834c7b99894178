"""Whoever stands by as workflows run, keeps it all in dictionaries, and knows which traces and effects there must be.

What follows for a contact they ask of the interpreter and, each time, of a second one that was written anew for tests: both must say the same.

Workers and events come at the same time, so that how far a contact has come when an event reaches them is open. So they look at what was
committed, and find an order of all that came in which the interpreters come to the very same: the same lines, the same place, the same end. Events
keep the order in which they were told, and each counts; steps may have been taken before, between and after them, or not yet.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TypeAlias
from uuid import UUID
from zoneinfo import ZoneInfo

from flownurture.contacts.v1.segments_pb2 import Rule
from flownurture.sending.v1 import workflows_pb2 as pb
from services.sending.statuses import SuppressionReason
from services.sending.tests.neighbours import Neighbour, Neighbours
from services.sending.workflows.clock_times import Clocks
from services.sending.workflows.documents import Version
from services.sending.workflows.enrollments import (
    Ended,
    Enrollment,
    Place,
    Ready,
    Stay,
    Waiting,
    may_enroll,
)
from services.sending.workflows.events import Event
from services.sending.workflows.interpreter import Advance, Circumstances, Effect, Trace, advance, questions
from services.sending.workflows.tests.second_reading import Now, Then, Where, Who, awaits, is_meant, read

_UTC = ZoneInfo("UTC")
_CHANGES = ("add_tag", "remove_tag", "add_to_list", "remove_from_list", "set_field")


@dataclass(frozen=True)
class Passage:
    """One time of a contact in a workflow."""

    enrollment: Enrollment
    digest: bytes | None
    place: Place
    lines: tuple[Trace, ...] = ()
    effects: tuple[Effect, ...] = ()

    @property
    def is_under_way(self) -> bool:
        return not isinstance(self.place, Ended)

    @property
    def stay(self) -> Stay:
        return Stay(self.enrollment.began_at, None if self.is_under_way else self.place.since)


# All the times of one contact in one workflow, the last one at last.
Passages: TypeAlias = tuple[Passage, ...]


@dataclass(frozen=True)
class Seen:
    """What is committed of a passage."""

    enrollment: Enrollment
    digest: bytes | None
    # Where there is a place.
    place: Ready | Waiting | None
    # Where it has ended: when, why, and with which reason.
    ended: tuple[datetime, str, str] | None
    lines: tuple[Trace, ...]

    def is_ahead_of(self, passage: Passage) -> bool:
        """Whether the passage may still become this."""
        return passage.enrollment == self.enrollment and passage.lines == self.lines[: len(passage.lines)]

    def is_what(self, passage: Passage) -> bool:
        """Whether the passage is this."""
        place = passage.place
        ended = (place.since, str(place.cause), str(place.reason)) if isinstance(place, Ended) else None
        return (passage.lines, passage.digest, ended, None if ended else place) == (
            self.lines,
            self.digest,
            self.ended,
            self.place,
        )


@dataclass(frozen=True)
class Invited:
    """They are to come into a workflow by the API."""

    workflow_id: UUID
    contact_ids: frozenset[UUID]


@dataclass(frozen=True)
class Happened:
    """Events that were told together."""

    events: tuple[Event, ...]


@dataclass(frozen=True)
class Refused:
    """It was told that addresses were suppressed."""

    digests: frozenset[bytes]


@dataclass(frozen=True)
class Erased:
    """It was told that a contact was erased."""

    contact_id: UUID


@dataclass(frozen=True)
class Moved:
    """It was told that a contact has another address."""

    contact_id: UUID


Told: TypeAlias = Invited | Happened | Refused | Erased | Moved


@dataclass
class Run:
    """A workflow: its versions, and whether it is active."""

    versions: list[Version]
    active: bool = True


@dataclass
class World:
    """What is so between two moves of the clock."""

    moment: datetime
    neighbours: Neighbours
    people: Mapping[UUID, Neighbour]
    runs: dict[UUID, Run] = field(default_factory=dict)
    # Why addresses get no mail.
    suppressed: dict[bytes, SuppressionReason] = field(default_factory=dict)

    def listens(self, events: Sequence[Event]) -> bool:
        """Whether any workflow does anything about them."""
        return any(
            _awaits_any(version, events)
            or (run.active and version is run.versions[-1] and _begins(version, events))
            for run in self.runs.values()
            for version in run.versions
        )

    def step(self, workflow_id: UUID, passage: Passage) -> Passage | None:
        """What a worker makes of it, if anything."""
        run, version = self.runs[workflow_id], self._version(workflow_id, passage)
        if not run.active or not passage.is_under_way:
            return None
        person = self.neighbours.present(passage.enrollment.contact_id)
        suppressed = self._reason(passage)
        if _asks(version, passage.place):
            carried_out = set(self.neighbours.effects)
            if any(effect.kind in _CHANGES and effect.id not in carried_out for effect in passage.effects):
                return None
            suppressed = suppressed or (None if person else SuppressionReason.ERASED)
        stepped = self._ask(version, passage, suppressed, person)
        if stepped.effect is not None and stepped.effect.kind == "send_email" and person is not None:
            refused = self.suppressed.get(person.digest)
            stepped = self._ask(version, passage, refused, person) if refused else stepped
        return None if stepped.trace is None else _moved(passage, stepped)

    def tell(
        self, workflow_id: UUID, contact_id: UUID, passages: Passages, told: Told, seen: Sequence[Seen]
    ) -> Passages | None:
        """What an event makes of it; None where it would let in somebody who is not seen to have come in."""
        match told:
            case Invited(invited, contact_ids) if invited == workflow_id and contact_id in contact_ids:
                return self._come_in(workflow_id, contact_id, passages, seen)
            case Happened(events):
                return self._happen(workflow_id, contact_id, passages, events, seen)
            case Refused(digests):
                return tuple(
                    self._leave(workflow_id, each) if each.is_under_way and each.digest in digests else each
                    for each in passages
                )
            case Erased(erased) if erased == contact_id:
                return tuple(self._leave(workflow_id, replace(each, digest=None)) for each in passages)
            case Moved(moved) if moved == contact_id:
                return tuple(self._follow(workflow_id, each) for each in passages)
        return passages

    def _happen(
        self,
        workflow_id: UUID,
        contact_id: UUID,
        passages: Passages,
        events: Sequence[Event],
        seen: Sequence[Seen],
    ) -> Passages | None:
        theirs = [event for event in events if event.contact_id == contact_id]
        if passages and theirs and _awaits_any(self._version(workflow_id, passages[-1]), events):
            passage = passages[-1]
            for event in theirs:
                heard = self._ask(
                    self._version(workflow_id, passage), passage, self._reason(passage), None, event
                )
                passage = _moved(passage, heard) if heard.trace else passage
            passages = (*passages[:-1], passage)
        run = self.runs[workflow_id]
        if run.active and _begins(run.versions[-1], theirs):
            return self._come_in(workflow_id, contact_id, passages, seen)
        return passages

    def _come_in(
        self, workflow_id: UUID, contact_id: UUID, passages: Passages, seen: Sequence[Seen]
    ) -> Passages | None:
        person, version = self.neighbours.present(contact_id), self.runs[workflow_id].versions[-1]
        if person is None or person.digest in self.suppressed:
            return passages
        stay = passages[-1].stay if passages else None
        if not may_enroll(version.document.re_enrollment, stay, self.moment):
            return passages
        if len(seen) <= len(passages):
            return None
        enrollment = Enrollment(seen[len(passages)].enrollment.id, contact_id, version.number, self.moment)
        return (*passages, Passage(enrollment, person.digest, Ready(version.first, 1, self.moment)))

    def _follow(self, workflow_id: UUID, passage: Passage) -> Passage:
        person = self.neighbours.present(passage.enrollment.contact_id)
        if person is None or passage.digest is None or not passage.is_under_way:
            return passage
        return self._leave(workflow_id, replace(passage, digest=person.digest))

    def _leave(self, workflow_id: UUID, passage: Passage) -> Passage:
        reason = self._reason(passage)
        if reason is None or not passage.is_under_way:
            return passage
        return _moved(passage, self._ask(self._version(workflow_id, passage), passage, reason, None))

    def _reason(self, passage: Passage) -> SuppressionReason | None:
        return SuppressionReason.ERASED if passage.digest is None else self.suppressed.get(passage.digest)

    def _version(self, workflow_id: UUID, passage: Passage) -> Version:
        return self.runs[workflow_id].versions[passage.enrollment.version - 1]

    def _ask(
        self,
        version: Version,
        passage: Passage,
        suppressed: SuppressionReason | None,
        person: Neighbour | None,
        event: Event | None = None,
    ) -> Advance:
        """Both interpreters."""
        zone = person.zone if person else None

        def fits(rule: Rule) -> bool:
            return person is not None and person.fits(rule)

        answers = {path: fits(rule) for path, rule in questions(version, passage.place).items()}
        now = Circumstances(self.moment, Clocks(_UTC, zone), suppressed, event, answers)
        said = advance(version, passage.enrollment, passage.place, now)
        enrollment = passage.enrollment
        anew = read(
            version.document,
            Who(enrollment.id, enrollment.contact_id, enrollment.began_at),
            _where(passage.place),
            Now(self.moment, zone or _UTC, suppressed, event, fits),
        )
        done = None if said.effect is None else (said.effect.kind, said.effect.id)
        assert anew == Then(_where(said.place), done, said.trace is not None)
        return said


def explained(
    whose: tuple[UUID, UUID],
    before: Passages,
    told: Sequence[Told],
    seen: Sequence[Seen],
    worlds: Sequence[World],
) -> Passages | None:
    """All that was seen of a contact in a workflow, as what came of what was before; None where nothing can have come to it.

    Where something changed meanwhile, it may have been as in the one world or as in the other.
    """
    workflow_id, contact_id = whose
    tried: set[tuple[int, tuple[tuple[Place, bytes | None, int], ...]]] = set()

    def search(passages: Passages, number: int) -> Passages | None:
        key = number, tuple((each.place, each.digest, len(each.lines)) for each in passages)
        if key in tried or not all(map(Seen.is_ahead_of, seen, passages)):
            return None
        tried.add(key)
        if number == len(told) and len(passages) == len(seen) and all(map(Seen.is_what, seen, passages)):
            return passages
        for then, following in ways(passages, number):
            if (found := search(then, following)) is not None:
                return found
        return None

    def ways(passages: Passages, number: int) -> Iterator[tuple[Passages, int]]:
        for world in worlds:
            if number < len(told):
                after = world.tell(workflow_id, contact_id, passages, told[number], seen)
                if after is not None:
                    yield after, number + 1
            if passages and (stepped := world.step(workflow_id, passages[-1])) is not None:
                yield (*passages[:-1], stepped), number

    return search(before, 0)


def counts_of(passages: Sequence[Passage]) -> Counter[tuple[int, str, str, str]]:
    """What must be counted of them: version, step, what, reason."""
    counts: Counter[tuple[int, str, str, str]] = Counter()
    for passage in passages:
        number, place = passage.enrollment.version, passage.place
        counts[number, "", "enrolled", ""] += 1
        taken = {(line.visit, line.step_id) for line in passage.lines if line.visit < place.visit}
        counts.update((number, step_id, "taken", "") for _, step_id in taken)
        if isinstance(place, Ended):
            counts[number, place.step_id, str(place.cause), str(place.reason)] += 1
    return counts


def _moved(passage: Passage, ahead: Advance) -> Passage:
    # Of who is erased nothing is kept.
    erased = isinstance(ahead.place, Ended) and ahead.place.reason is SuppressionReason.ERASED
    return replace(
        passage,
        digest=None if erased else passage.digest,
        place=ahead.place,
        lines=(*passage.lines, *filter(None, [ahead.trace])),
        effects=(*passage.effects, *filter(None, [ahead.effect])),
    )


def _where(place: Place) -> Where:
    until = place.wake_at if isinstance(place, Waiting) else None
    left = (str(place.cause), str(place.reason)) if isinstance(place, Ended) else None
    return Where(place.step_id, place.visit, place.since, until, left)


def _asks(version: Version, place: Place) -> bool:
    """Whether the contact has to be known before the step."""
    step, document = version.step(place.step_id), version.document
    rules = document.goal.HasField("rule") or any(each.HasField("rule") for each in document.exit_when)
    by_their_clock = step.wait.time_of_day.clock == pb.CLOCK_CONTACT
    asks = rules or by_their_clock or step.HasField("send_email") or step.HasField("branch")
    return asks and isinstance(place, Ready)


def _awaits_any(version: Version, events: Sequence[Event]) -> bool:
    return any(is_meant(wanted, "event", event) for wanted in awaits(version.document) for event in events)


def _begins(version: Version, events: Sequence[Event]) -> bool:
    return any(is_meant(version.document.trigger, "trigger", event) for event in events)
