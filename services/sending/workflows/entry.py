"""Contacts who are brought into a workflow by a client, whatever its trigger."""

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import select

from chassis.database import TenantSession
from chassis.errors import Conflict, DomainError, FailedPrecondition, NotFound
from services.sending.tables import workflows
from services.sending.workflows.enrolling import (
    AlreadyIn,
    Enrolled,
    Enrollee,
    NotAgain,
    Outcome,
    Source,
    enroll,
)
from services.sending.workflows.lifecycle import WorkflowStatus
from services.sending.workflows.versions import read_versions


async def bring_in(
    session: TenantSession, workflow_id: UUID, people: Sequence[Enrollee]
) -> list[UUID | DomainError]:
    """Let at most 500 people in; answers the enrollment of each, or why there is none, in their order.

    Raises NotFound for the workflow, Conflict when it is not active.
    """
    # Held: nobody comes in by a version that is not the newest, or into what does not run.
    held = await session.execute(
        select(workflows.c.status, workflows.c.version)
        .where(workflows.c.id == workflow_id)
        .with_for_update(read=True)
    )
    workflow = held.one_or_none()
    if workflow is None:
        raise NotFound(f"workflow as {workflow_id}")
    if workflow.status != WorkflowStatus.ACTIVE:
        raise Conflict(f"Nobody comes in: the workflow is {_STATES[WorkflowStatus(workflow.status)]}.")
    numbered = (workflow_id, workflow.version)
    version = (await read_versions(session, [numbered]))[numbered]
    once = list(dict.fromkeys(people))
    outcomes = await enroll(session, workflow_id, version, once, source=Source.API, moment=datetime.now(UTC))
    told = dict(zip(once, map(_told, outcomes), strict=True))
    # Whoever is named twice comes in once.
    return [
        told[person] if index == people.index(person) else _told(AlreadyIn())
        for index, person in enumerate(people)
    ]


_STATES = {
    WorkflowStatus.DRAFT: "a draft",
    WorkflowStatus.PAUSED: "paused",
    WorkflowStatus.ARCHIVED: "archived",
}


def _told(outcome: Outcome) -> UUID | DomainError:
    match outcome:
        case Enrolled():
            return outcome.enrollment_id
        case AlreadyIn():
            return Conflict("The contact is in the workflow already.")
        case NotAgain():
            return Conflict("The contact was in the workflow, and may not come in again, or not yet.")
        case _:
            return FailedPrecondition(
                f"No mail may go to the contact: {outcome.reason.value}.", reason="SUPPRESSED"
            )
