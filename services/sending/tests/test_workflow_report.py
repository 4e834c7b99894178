"""What the report of a workflow says is what was counted, and where people are."""

from uuid import UUID

import pytest

from chassis.errors import NotFound
from flownurture.sending.v1 import enrollments_pb2, workflow_reports_pb2
from flownurture.sending.v1 import workflow_service_pb2 as workflows_pb
from services.sending.tests.tenant import Tenant
from services.sending.tests.workflow_contacts import WorkflowContacts
from services.sending.workflows.counts import TAKEN, Count, add_counts
from services.sending.workflows.tests.drafts import JOINS, leave, mail, trigger, wait


async def test_the_report_tells_who_is_where_who_left_and_why_by_version_and_in_all(
    tenant: Tenant, stranger: Tenant, workflow_contacts: WorkflowContacts
) -> None:
    made = await tenant(
        workflows_pb.CreateWorkflowRequest(
            name="W", trigger=trigger(**JOINS), steps=[mail("hello"), wait("pause"), leave()]
        )
    )
    await tenant(workflows_pb.ActivateWorkflowRequest(workflow_id=made.id))
    people = [
        workflow_contacts.add(tenant.context.organization, f"p{number}@example.test") for number in range(4)
    ]

    async def come_in(contact_id: UUID) -> str:
        request = enrollments_pb2.CreateEnrollmentRequest(workflow_id=made.id, contact_id=str(contact_id))
        return str((await tenant(request)).id)

    first = await come_in(people[0])
    await come_in(people[1])
    await tenant(workflows_pb.UpdateWorkflowRequest(workflow_id=made.id, steps=[wait("pause"), leave()]))
    await come_in(people[2])
    await tenant(enrollments_pb2.ExitEnrollmentRequest(workflow_id=made.id, enrollment_id=first))
    counts = {
        Count(1, "hello", TAKEN): 7,
        Count(1, "pause", "goal"): 2,
        Count(2, "pause", "suppressed", "unsubscribe"): 3,
        Count(2, "end", "exit_step", "done"): 1,
    }
    mail_id = (await tenant.rows("SELECT id FROM workflow_mails"))[0].id
    await tenant.rows(
        "INSERT INTO engagement_counts (campaign_id, kind, link_number, hour, total, messages, by_bots)"
        " VALUES (:mail_id, 'opened', 0, now(), 9, 5, 1), (:mail_id, 'clicked', 1, now(), 2, 2, 0)",
        mail_id=mail_id,
    )
    async with tenant.database.tenant_transaction(tenant.context) as session:
        await add_counts(session, UUID(made.id), counts)

    report = await tenant(workflow_reports_pb2.GetWorkflowReportRequest(workflow_id=made.id))
    assert (report.enrolled, report.under_way, report.converted) == (3, 2, 2)
    assert [(each.cause, each.reason, each.enrollments) for each in report.exits] == [
        ("by_hand", "", 1),
        ("exit_step", "done", 1),
        ("suppressed", "unsubscribe", 3),
    ]
    assert [(step.step_id, step.there, step.taken, step.opened, step.clicked) for step in report.steps] == [
        ("pause", 1, 0, 0, 0),
        ("end", 0, 0, 0, 0),
        ("hello", 1, 7, 5, 0),
    ]
    assert [(each.version, each.enrolled, each.under_way, each.converted) for each in report.versions] == [
        (1, 2, 1, 2),
        (2, 1, 1, 0),
    ]
    assert [step.step_id for step in report.versions[0].steps] == ["hello"]
    with pytest.raises(NotFound):
        await stranger(workflow_reports_pb2.GetWorkflowReportRequest(workflow_id=made.id))
