"""Contacts whom clients bring into workflows, look up, and take out."""

from dataclasses import replace
from uuid import uuid4

import pytest

from chassis.errors import Conflict, FailedPrecondition, NotFound
from flownurture.sending.v1 import enrollments_pb2 as pb
from flownurture.sending.v1 import messages_pb2
from flownurture.sending.v1 import workflow_service_pb2 as workflows_pb
from flownurture.suppression.v1 import suppressions_pb2
from flownurture.workflows.v1.events_pb2 import EnrollmentsEnded
from services.sending.tests.tenant import Tenant
from services.sending.tests.workflow_contacts import WorkflowContacts
from services.sending.workflows.tests.drafts import JOINS, leave, wait


async def active(tenant: Tenant) -> str:
    made = await tenant(
        workflows_pb.CreateWorkflowRequest(name="W", trigger=JOINS, steps=[wait("pause"), leave()])  # type: ignore[arg-type]
    )
    await tenant(workflows_pb.ActivateWorkflowRequest(workflow_id=made.id))
    return str(made.id)


@pytest.fixture
async def workflow_id(tenant: Tenant) -> str:
    return await active(tenant)


@pytest.fixture
def ada(tenant: Tenant, workflow_contacts: WorkflowContacts) -> str:
    return str(workflow_contacts.add(tenant.context.organization, "ada@example.test"))


async def come_in(tenant: Tenant, workflow_id: str, contact_id: str) -> pb.Enrollment:
    enrollment: pb.Enrollment = await tenant(
        pb.CreateEnrollmentRequest(workflow_id=workflow_id, contact_id=contact_id)
    )
    return enrollment


async def test_a_contact_is_brought_in_once_and_taken_out_once(
    tenant: Tenant, stranger: Tenant, workflow_id: str, ada: str
) -> None:
    enrollment = await come_in(tenant, workflow_id, ada)
    assert (enrollment.contact_id, enrollment.source, enrollment.status) == (
        ada,
        "api",
        pb.ENROLLMENT_STATUS_UNDER_WAY,
    )
    assert (enrollment.place.step_id, enrollment.place.version, enrollment.place.waiting) == (
        "pause",
        1,
        False,
    )
    with pytest.raises(Conflict, match="already"):
        await come_in(tenant, workflow_id, ada)
    get = pb.GetEnrollmentRequest(workflow_id=workflow_id, enrollment_id=enrollment.id)
    out = pb.ExitEnrollmentRequest(workflow_id=workflow_id, enrollment_id=enrollment.id)
    for request in (get, out, pb.ListEnrollmentsRequest(workflow_id=workflow_id)):
        with pytest.raises(NotFound):
            await stranger(request)
    left = await tenant(out)
    assert (left.status, left.cause, left.HasField("place")) == (pb.ENROLLMENT_STATUS_ENDED, "by_hand", False)
    assert [(line.step_id, line.why) for line in left.trace] == [("pause", "taken out by hand")]
    assert await tenant(out) == await tenant(get) == left
    (told,) = await tenant.published(EnrollmentsEnded)
    assert [(each.contact_id, each.cause) for each in told.enrollments] == [(ada, "by_hand")]
    counts = await tenant.rows("SELECT step_id, what, number FROM workflow_counts ORDER BY what")
    assert [tuple(row) for row in counts] == [("pause", "by_hand", 1), ("", "enrolled", 1)]
    with pytest.raises(Conflict, match="again"):
        await come_in(tenant, workflow_id, ada)


async def test_a_repeated_request_under_its_key_brings_nobody_in_twice(
    tenant: Tenant, workflow_id: str, ada: str
) -> None:
    tenant.context = replace(tenant.context, idempotency_key="once")
    assert await come_in(tenant, workflow_id, ada) == await come_in(tenant, workflow_id, ada)


async def test_nobody_comes_into_what_does_not_run(tenant: Tenant, workflow_id: str, ada: str) -> None:
    with pytest.raises(NotFound):
        await come_in(tenant, str(uuid4()), ada)
    for stop in (workflows_pb.PauseWorkflowRequest, workflows_pb.ArchiveWorkflowRequest):
        await tenant(stop(workflow_id=workflow_id))
        with pytest.raises(Conflict, match="Nobody comes in"):
            await come_in(tenant, workflow_id, ada)


async def test_of_many_each_is_let_in_or_told_why_not(
    tenant: Tenant, workflow_id: str, ada: str, workflow_contacts: WorkflowContacts
) -> None:
    grace = str(workflow_contacts.add(tenant.context.organization, "grace@example.test"))
    unknown = str(uuid4())
    await tenant(
        suppressions_pb2.CreateSuppressionRequest(
            email="grace@example.test", reason=messages_pb2.SUPPRESSION_REASON_MANUAL
        )
    )
    with pytest.raises(FailedPrecondition) as refused:
        await come_in(tenant, workflow_id, grace)
    assert refused.value.reason == "SUPPRESSED"
    answer = await tenant(
        pb.BatchCreateEnrollmentsRequest(workflow_id=workflow_id, contact_ids=[unknown, ada, grace, ada])
    )
    assert [result.error.type for result in answer.results] == ["not-found", "", "suppressed", "conflict"]
    assert answer.results[1].enrollment.contact_id == ada


async def test_enrollments_are_looked_up_by_who_where_and_whether_they_ended(
    tenant: Tenant, workflow_id: str, workflow_contacts: WorkflowContacts
) -> None:
    people = [
        str(workflow_contacts.add(tenant.context.organization, f"p{number}@example.test"))
        for number in range(3)
    ]
    made = [(await come_in(tenant, workflow_id, each)).id for each in people]
    await tenant(pb.ExitEnrollmentRequest(workflow_id=workflow_id, enrollment_id=made[0]))

    async def found(**wanted: object) -> list[str]:
        page = await tenant(pb.ListEnrollmentsRequest(workflow_id=workflow_id, **wanted))  # type: ignore[arg-type]
        return [each.id for each in page.enrollments]

    assert await found() == made[::-1]
    assert await found(status=pb.ENROLLMENT_STATUS_ENDED) == [made[0]]
    assert await found(status=pb.ENROLLMENT_STATUS_UNDER_WAY) == await found(step_id="pause") == made[:0:-1]
    assert await found(contact_id=people[1]) == [made[1]]
    assert await found(step_id="end") == []
    first = await tenant(pb.ListEnrollmentsRequest(workflow_id=workflow_id, page_size=2))
    rest = await tenant(pb.ListEnrollmentsRequest(workflow_id=workflow_id, page_token=first.next_page_token))
    assert [each.id for each in (*first.enrollments, *rest.enrollments)] == made[::-1]
