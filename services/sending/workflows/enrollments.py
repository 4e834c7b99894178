"""A contact's time in a workflow: who may come in, and where they may be."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TypeAlias
from uuid import UUID

from flownurture.sending.v1 import workflows_pb2 as pb
from services.sending.workflows.documents import Version


@dataclass(frozen=True, slots=True)
class Enrollment:
    """One time of a contact in a workflow. It ends on the version with which it began."""

    id: UUID
    contact_id: UUID
    version: int
    began_at: datetime


@dataclass(frozen=True, slots=True)
class Ready:
    """Before a step, which is to be taken as soon as can be. A step that is come to again is another visit."""

    step_id: str
    # From 1, however many steps there were; it names what the step does.
    visit: int
    since: datetime

    @property
    def wake_at(self) -> datetime:
        """When it is to be looked at."""
        return self.since


@dataclass(frozen=True, slots=True)
class Waiting:
    """In a wait, until its time has come or what it waits for happens."""

    step_id: str
    visit: int
    since: datetime
    wake_at: datetime


class Cause(StrEnum):
    """Why a contact left a workflow."""

    GOAL = "goal"
    EXIT_CONDITION = "exit_condition"
    EXIT_STEP = "exit_step"
    SUPPRESSED = "suppressed"
    # Somebody of the organization took them out.
    BY_HAND = "by_hand"
    ARCHIVED = "archived"


@dataclass(frozen=True, slots=True)
class Ended:
    """Out of it, for good: whoever comes in again does so by another enrollment."""

    # Where the contact was.
    step_id: str
    visit: int
    since: datetime
    cause: Cause
    # Of a suppression why, of an exit what the step says of it.
    reason: str = ""

    @property
    def wake_at(self) -> None:
        """Never."""
        return None


Place: TypeAlias = Ready | Waiting | Ended


@dataclass(frozen=True, slots=True)
class Stay:
    """When a contact's last enrollment in the workflow, by whatever version, began and ended; None while it has not."""

    began_at: datetime
    ended_at: datetime | None


def may_enroll(rule: pb.ReEnrollment, last: Stay | None, moment: datetime) -> bool:
    """Whether a contact may come in, as far as the workflow says; whether mail may go to them is another question."""
    if last is None:
        return True
    if last.ended_at is None:
        return False
    match rule.rule:
        case pb.RE_ENROLLMENT_RULE_AFTER_EXIT:
            return True
        case pb.RE_ENROLLMENT_RULE_AFTER_DAYS:
            return moment >= last.began_at + timedelta(days=rule.days)
        case _:
            return False


def enroll(
    version: Version, enrollment_id: UUID, contact_id: UUID, moment: datetime
) -> tuple[Enrollment, Ready]:
    """A contact comes in, and stands before the first step."""
    return Enrollment(enrollment_id, contact_id, version.number, moment), Ready(version.first, 1, moment)
