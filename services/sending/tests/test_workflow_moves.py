"""Whoever is under way goes on by another version when somebody says so, at the same step, or stays where they are."""

from typing import Any

import pytest

from chassis.errors import Conflict, NotFound
from flownurture.sending.v1 import enrollments_pb2 as pb
from flownurture.sending.v1 import workflow_service_pb2 as workflows_pb
from flownurture.sending.v1.workflows_pb2 import WorkflowStep
from services.sending.tests.tenant import Tenant
from services.sending.tests.workflow_contacts import WorkflowContacts
from services.sending.workflows.tests.drafts import JOINS, leave, mail, trigger, wait, wait_for


async def active(tenant: Tenant, *steps: WorkflowStep) -> str:
    made = await tenant(workflows_pb.CreateWorkflowRequest(name="W", trigger=trigger(**JOINS), steps=steps))
    await tenant(workflows_pb.ActivateWorkflowRequest(workflow_id=made.id))
    return str(made.id)


async def change(tenant: Tenant, workflow_id: str, *steps: WorkflowStep) -> None:
    await tenant(workflows_pb.UpdateWorkflowRequest(workflow_id=workflow_id, steps=steps))


async def come_in(
    tenant: Tenant, contacts: WorkflowContacts, workflow_id: str, at: str, waiting: bool = False
) -> str:
    """Somebody who is at a step of the newest version."""
    name = f"p{len(await tenant.rows('SELECT FROM enrollments'))}@example.test"
    contact_id = str(contacts.add(tenant.context.organization, name))
    made = await tenant(pb.CreateEnrollmentRequest(workflow_id=workflow_id, contact_id=contact_id))
    await tenant.rows(
        "UPDATE enrollment_places SET step_id = :at, waiting = :waiting WHERE enrollment_id = CAST(:id AS uuid)",
        at=at,
        waiting=waiting,
        id=made.id,
    )
    return str(made.id)


async def place(tenant: Tenant, workflow_id: str, enrollment_id: str) -> Any:
    found = await tenant(pb.GetEnrollmentRequest(workflow_id=workflow_id, enrollment_id=enrollment_id))
    return found.place


async def test_those_whose_step_is_there_move_and_the_others_stay(
    tenant: Tenant, stranger: Tenant, workflow_contacts: WorkflowContacts
) -> None:
    workflow_id = await active(tenant, wait("pause"), mail("hello"), wait("long"), leave())
    waiting = await come_in(tenant, workflow_contacts, workflow_id, "pause", waiting=True)
    gone = await come_in(tenant, workflow_contacts, workflow_id, "hello")
    other = await come_in(tenant, workflow_contacts, workflow_id, "long", waiting=True)
    before = await place(tenant, workflow_id, waiting)
    await change(tenant, workflow_id, wait("pause", duration={"days": 9}), wait_for("long"), leave())
    with pytest.raises(NotFound):
        await stranger(pb.MoveEnrollmentsRequest(workflow_id=workflow_id))

    told = await tenant(pb.MoveEnrollmentsRequest(workflow_id=workflow_id))
    assert (told.to_version, told.moved, told.more) == (2, 1, False)
    assert [(each.version, each.step_id, each.enrollments, each.why) for each in told.staying] == [
        (1, "hello", 1, "there is no such step"),
        (1, "long", 1, "the step is of another kind"),
    ]
    after = await place(tenant, workflow_id, waiting)
    assert (after.version, after.step_id, after.waiting, after.wake_at) == (2, "pause", True, before.wake_at)
    assert [(await place(tenant, workflow_id, each)).version for each in (gone, other)] == [1, 1]
    moved = await tenant(pb.GetEnrollmentRequest(workflow_id=workflow_id, enrollment_id=waiting))
    assert [(line.version, line.why) for line in moved.trace] == [(2, "moved to version 2")]
    assert (await tenant(pb.MoveEnrollmentsRequest(workflow_id=workflow_id))).moved == 0


async def test_versions_and_steps_are_moved_as_they_are_chosen_and_back_again(
    tenant: Tenant, workflow_contacts: WorkflowContacts
) -> None:
    workflow_id = await active(tenant, wait("a"), wait("b"), leave())
    first = await come_in(tenant, workflow_contacts, workflow_id, "a")
    second = await come_in(tenant, workflow_contacts, workflow_id, "b")
    await change(tenant, workflow_id, wait("a"), wait("b"), leave("end", "two"))
    third = await come_in(tenant, workflow_contacts, workflow_id, "a")

    async def versions() -> list[int]:
        return [(await place(tenant, workflow_id, each)).version for each in (first, second, third)]

    move = pb.MoveEnrollmentsRequest
    assert (await tenant(move(workflow_id=workflow_id, step_ids=["b"]))).moved == 1
    assert await versions() == [1, 2, 2]
    assert (await tenant(move(workflow_id=workflow_id, from_version=2, to_version=1))).moved == 2
    assert await versions() == [1, 1, 1]
    with pytest.raises(NotFound):
        await tenant(move(workflow_id=workflow_id, to_version=3))
    await tenant(workflows_pb.ArchiveWorkflowRequest(workflow_id=workflow_id))
    with pytest.raises(Conflict):
        await tenant(move(workflow_id=workflow_id))


async def test_many_move_in_sets_and_it_is_told_when_there_are_more(
    tenant: Tenant, workflow_contacts: WorkflowContacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.sending.workflows.moves._SIZE", 2)
    monkeypatch.setattr("services.sending.workflows.moves._MOST_SETS", 2)
    workflow_id = await active(tenant, wait("a"), leave())
    for _ in range(5):
        await come_in(tenant, workflow_contacts, workflow_id, "a")
    await change(tenant, workflow_id, wait("a"), mail("b"), leave())
    first = await tenant(pb.MoveEnrollmentsRequest(workflow_id=workflow_id))
    assert (first.moved, first.more) == (4, True)
    rest = await tenant(pb.MoveEnrollmentsRequest(workflow_id=workflow_id))
    assert (rest.moved, rest.more) == (1, False)
