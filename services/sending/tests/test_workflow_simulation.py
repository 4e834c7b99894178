"""A simulation tells what the rules of workflows say of a contact as they are now, and does nothing."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from chassis.errors import InvalidRequest, NotFound
from flownurture.contacts.v1.segments_pb2 import Rule
from flownurture.sending.v1 import messages_pb2
from flownurture.sending.v1 import workflow_service_pb2 as workflows_pb
from flownurture.sending.v1 import workflow_simulations_pb2 as pb
from flownurture.sending.v1.workflows_pb2 import WorkflowStep
from flownurture.suppression.v1 import suppressions_pb2
from services.sending.tests.tenant import Tenant
from services.sending.tests.workflow_contacts import WorkflowContacts
from services.sending.workflows.tests.drafts import (
    JOINS,
    RULE,
    branch,
    go_to,
    leave,
    mail,
    split,
    step,
    trigger,
    wait,
    wait_for,
)

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)
CLICK = {"email_clicked": {"step_id": "hello"}}


@pytest.fixture
def ada(tenant: Tenant, workflow_contacts: WorkflowContacts) -> UUID:
    return workflow_contacts.add(tenant.context.organization, "ada@example.test", first_name="Ada")


async def walk(
    tenant: Tenant, contact_id: UUID, steps: list[WorkflowStep], goal: Any = None, **given: Any
) -> Any:
    made = await tenant(
        workflows_pb.CreateWorkflowRequest(name="W", trigger=trigger(**JOINS), steps=steps, goal=goal)
    )
    request = {"workflow_id": made.id, "contact_id": str(contact_id), "at": NOON} | given
    return await tenant(pb.SimulateWorkflowRequest(**request))


def visited(simulation: Any) -> list[tuple[str, timedelta]]:
    return [(each.step_id, each.at.ToDatetime(UTC) - NOON) for each in simulation.steps]


async def test_waits_are_over_at_once_and_mails_are_shown_and_not_sent(tenant: Tenant, ada: UUID) -> None:
    hello = step(
        "hello",
        send_email={"from_email": "a@shop.test", "subject": "Hi {{ contact.first_name }}", "text": "Hello."},
    )
    told = await walk(tenant, ada, [wait("pause"), hello, leave("end", "done")])
    two_days = timedelta(days=2)
    assert visited(told) == [
        ("pause", timedelta()),
        ("pause", two_days),
        ("hello", two_days),
        ("end", two_days),
    ]
    assert told.steps[2].mail.subject == "Hi Ada"
    assert (told.end.cause, told.end.reason) == ("exit_step", "done")
    for table in (
        "enrollments",
        "enrollment_places",
        "enrollment_trace",
        "workflow_counts",
        "messages",
        "outbox",
    ):
        assert await tenant.rows(f"SELECT FROM {table}") == []


async def test_what_is_waited_for_happens_only_where_it_is_said(tenant: Tenant, ada: UUID) -> None:
    steps = [mail("hello"), wait_for("read", CLICK, "cold"), leave("warm"), leave("cold")]
    assert visited(await walk(tenant, ada, steps))[-1] == ("cold", timedelta(days=2))
    event = pb.SimulatedEvent(after={"hours": 3}, event=CLICK)  # type: ignore[arg-type]
    assert visited(await walk(tenant, ada, steps, events=[event]))[-1] == ("warm", timedelta(hours=3))
    with pytest.raises(InvalidRequest):
        await walk(tenant, ada, steps, events=[pb.SimulatedEvent(after={"hours": 3}, event={})])  # type: ignore[arg-type]


async def test_rules_are_answered_for_the_contact_as_they_are(
    tenant: Tenant, ada: UUID, workflow_contacts: WorkflowContacts
) -> None:
    steps = [branch("which", "yes", otherwise="no"), leave("yes"), leave("no")]
    assert visited(await walk(tenant, ada, steps))[-1][0] == "no"
    workflow_contacts.fit(ada, Rule(**RULE))  # type: ignore[arg-type]
    assert visited(await walk(tenant, ada, steps))[-1][0] == "yes"
    converted = await walk(tenant, ada, [wait("pause"), leave()], goal={"rule": RULE})
    assert (converted.end.cause, visited(converted)) == ("goal", [("pause", timedelta())])


@pytest.mark.parametrize(("way", "end"), [(0, "a"), (1, "b")])
async def test_ways_are_taken_as_they_are_chosen(tenant: Tenant, ada: UUID, way: int, end: str) -> None:
    choice = [pb.SimulatedChoice(step_id="which", way=way)]
    lots = [split("which", [(50, "a"), (50, "b")]), leave("a"), leave("b")]
    assert visited(await walk(tenant, ada, lots, choices=choice))[-1][0] == end
    rules = [branch("which", "a", otherwise="b"), leave("a"), leave("b")]
    assert visited(await walk(tenant, ada, rules, choices=choice))[-1][0] == end
    with pytest.raises(InvalidRequest):
        await walk(tenant, ada, lots, choices=[pb.SimulatedChoice(step_id="which", way=2)])


async def test_whoever_may_get_no_mail_leaves_at_once(tenant: Tenant, ada: UUID) -> None:
    await tenant(
        suppressions_pb2.CreateSuppressionRequest(
            email="ada@example.test", reason=messages_pb2.SUPPRESSION_REASON_MANUAL
        )
    )
    told = await walk(tenant, ada, [mail("hello"), leave()])
    assert (told.end.cause, told.end.reason) == ("suppressed", "manual")


@pytest.mark.parametrize("days", [1, 3650])
async def test_what_goes_round_for_ever_is_told_as_far_as_there_is_room(
    tenant: Tenant, ada: UUID, days: int
) -> None:
    told = await walk(tenant, ada, [wait("pause", duration={"days": days}), go_to("back", "pause")])
    assert len(told.steps) <= 1_000
    assert not told.HasField("end")


async def test_a_version_or_contact_that_is_not_there_is_not_found(
    tenant: Tenant, stranger: Tenant, ada: UUID
) -> None:
    with pytest.raises(NotFound):
        await walk(tenant, uuid4(), [leave()])
    with pytest.raises(NotFound):
        await walk(tenant, ada, [leave()], version=2)
    with pytest.raises(NotFound):
        await walk(stranger, ada, [leave()])
