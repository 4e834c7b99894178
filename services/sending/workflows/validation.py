"""What is wrong with a workflow's document beyond the bounds that the contract has: by field, in words for whoever wrote it.

What lives elsewhere, and whether it is there, the document cannot tell: `references.py` says what it names.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any

from google.protobuf.message import Message

from chassis.contract.bounds import MOST_VIOLATIONS
from chassis.errors import FieldViolation
from flownurture.contacts.v1.segments_pb2 import (
    CONTACT_FIELD_CREATED_AT,
    CONTACT_FIELD_UNSPECIFIED,
    CONTACT_FIELD_UPDATED_AT,
)
from flownurture.sending.v1 import workflows_pb2 as pb
from services.sending.clock_times import parse_time
from services.sending.workflows.documents import named_ways, ways_of
from services.sending.workflows.events import field_name
from services.sending.workflows.parts import parts

_STEP_ID = re.compile(r"[A-Za-z0-9_-]{1,50}", re.ASCII)
_GIVEN = "must be given"
_UNKNOWN = "there is no such step"


def violations(document: pb.WorkflowDocument) -> list[FieldViolation]:
    """Everything that is wrong with a document that keeps to the bounds of the contract, at most 20 of them; empty when it is valid."""
    found = [wrong for path, part in parts(document) for wrong in _wrong_with(path, part)]
    found += _ids(document)
    found += _unknown_steps(document)
    if not found:
        # Where steps lead can be told once it is known which is meant.
        found = [*_unreachable(document), *_dead_end(document), *_endless(document)]
    return found[:MOST_VIOLATIONS]


def _wrong_with(path: str, part: Message) -> Iterator[FieldViolation]:
    """What is wrong with one message of the document by itself."""
    for choice in part.DESCRIPTOR.oneofs:
        if part.WhichOneof(choice.name) is None:
            names = ", ".join(member.name for member in choice.fields)
            yield FieldViolation(path, f"must have exactly one of {names}")
    check = _CHECKS.get(type(part))
    if check is not None:
        for name, message in check(part):
            yield FieldViolation(f"{path}.{name}" if name else path, message)


# The path of a field within its message, empty for the message itself, and what is wrong.
_Wrong = Iterator[tuple[str, str]]


def _step(step: pb.WorkflowStep) -> _Wrong:
    if not _STEP_ID.fullmatch(step.id):
        yield "id", "must be letters, digits, _ and -"


def _send_email(mail: pb.SendEmail) -> _Wrong:
    if not mail.template_id:
        if not mail.subject:
            yield "subject", "must be given unless there is a template_id"
        if not mail.html and not mail.text:
            yield "html", "must be given unless there is a text or a template_id"
    elif mail.html or mail.text:
        yield "template_id", "takes the place of html and text"


def _span(span: pb.Span) -> _Wrong:
    if not (span.days or span.hours or span.minutes):
        yield "", "must be a minute at least"


def _time_of_day(wanted: pb.TimeOfDay) -> _Wrong:
    try:
        parse_time(wanted.time)
    except ValueError as error:
        yield "time", str(error)


def _split(split: pb.Split) -> _Wrong:
    shares = sum(way.share_percent for way in split.ways)
    if shares != 100:
        yield "ways", f"must have shares that add up to 100, and they add up to {shares}"


def _re_enrollment(rule: pb.ReEnrollment) -> _Wrong:
    if rule.rule == pb.RE_ENROLLMENT_RULE_AFTER_DAYS:
        if not rule.days:
            yield "days", "must be 1 at least"
    elif rule.days:
        yield "days", "goes with the rule after_days alone"


def _set_field(change: pb.SetField) -> _Wrong:
    field = change.field
    if field.WhichOneof("field") == "name" and field_name(field) not in ("first_name", "last_name"):
        yield "field.name", "must be first_name or last_name: a workflow sets no other"


def _field(field: pb.FieldReference) -> _Wrong:
    if field.WhichOneof("field") == "name" and field.name == CONTACT_FIELD_UNSPECIFIED:
        yield "name", _GIVEN


def _field_changed(happens: pb.WorkflowTrigger | pb.WorkflowEvent) -> _Wrong:
    # No event ever names them: the one never changes, the other with every change.
    if happens.field_changed.name in (CONTACT_FIELD_CREATED_AT, CONTACT_FIELD_UPDATED_AT):
        yield (
            "field_changed.name",
            "must be a field that has a value of its own: created_at and updated_at only tell when",
        )


def _branch_way(way: pb.BranchWay) -> _Wrong:
    if not way.rule.ListFields():
        yield "rule", _GIVEN


def _condition(condition: pb.WorkflowCondition) -> _Wrong:
    if condition.WhichOneof("condition") == "rule" and not condition.rule.ListFields():
        yield "rule", _GIVEN


_CHECKS: Mapping[type[Message], Callable[[Any], _Wrong]] = {
    pb.BranchWay: _branch_way,
    pb.FieldReference: _field,
    pb.ReEnrollment: _re_enrollment,
    pb.SendEmail: _send_email,
    pb.SetField: _set_field,
    pb.Span: _span,
    pb.Split: _split,
    pb.TimeOfDay: _time_of_day,
    pb.WorkflowCondition: _condition,
    pb.WorkflowEvent: _field_changed,
    pb.WorkflowStep: _step,
    pb.WorkflowTrigger: _field_changed,
}


def _ids(document: pb.WorkflowDocument) -> Iterator[FieldViolation]:
    first: dict[str, int] = {}
    for index, step in enumerate(document.steps):
        if first.setdefault(step.id, index) != index:
            yield FieldViolation(f"steps[{index}].id", f"is the id of steps[{first[step.id]}] already")


def _unknown_steps(document: pb.WorkflowDocument) -> Iterator[FieldViolation]:
    kinds = {step.id: step.WhichOneof("action") for step in document.steps}
    for path, way in named_ways(document):
        if way.step_id not in kinds:
            yield FieldViolation(path, _UNKNOWN)
    for path, part in parts(document):
        if not isinstance(part, pb.WorkflowEvent) or not part.WhichOneof("event"):
            continue
        for member in ("email_opened", "email_clicked"):
            if part.HasField(member):
                kind = kinds.get(getattr(part, member).step_id)
                if kind != "send_email":
                    wrong = _UNKNOWN if kind is None else "is no step that sends an e-mail"
                    yield FieldViolation(f"{path}.{member}.step_id", wrong)


def _leads(document: pb.WorkflowDocument) -> list[list[int]]:
    """To which steps each leads, by where they stand; what would be below the last is left out."""
    places = {step.id: index for index, step in enumerate(document.steps)}
    return [
        [
            place
            for way in ways_of(step)
            if (place := places[way.step_id] if way.step_id else index + 1) < len(places)
        ]
        for index, step in enumerate(document.steps)
    ]


def _unreachable(document: pb.WorkflowDocument) -> Iterator[FieldViolation]:
    leads = _leads(document)
    reached, waiting = {0}, [0]
    while waiting:
        fresh = set(leads[waiting.pop()]) - reached
        reached |= fresh
        waiting += fresh
    for index in range(len(leads)):
        if index not in reached:
            yield FieldViolation(f"steps[{index}]", "is never reached: no step leads here")


def _dead_end(document: pb.WorkflowDocument) -> Iterator[FieldViolation]:
    last = len(document.steps) - 1
    for way in ways_of(document.steps[last]):
        if way.step_id:
            continue
        if way.path:
            yield FieldViolation(
                f"steps[{last}].{way.path}", "must be given in the last step: there is none below"
            )
        else:
            yield FieldViolation(
                f"steps[{last}]",
                "leads nowhere, since it is the last: it must be an exit, a go_to, a branch or a split",
            )


def _endless(document: pb.WorkflowDocument) -> Iterator[FieldViolation]:
    """One way round and round that nothing holds up; there may be more."""
    steps = document.steps
    leads = {
        index: [] if steps[index].HasField("wait") else onward
        for index, onward in enumerate(_leads(document))
    }
    try:
        TopologicalSorter(leads).prepare()
    except CycleError as error:
        # From each to the one that leads to it, the first once more at the end.
        round_trip = error.args[1][:0:-1]
        begin = round_trip.index(min(round_trip))
        around = [*round_trip[begin:], *round_trip[:begin]]
        names = " → ".join(steps[index].id for index in [*around, around[0]])
        yield FieldViolation(f"steps[{around[0]}]", f"goes round without end, and without a wait: {names}")
