"""Ready-made workflows are copied as drafts that are good, and say themselves what they need."""

from typing import Any
from uuid import uuid4

import pytest

from chassis.contract.bounds import violations as out_of_bounds
from chassis.errors import InvalidRequest, NotFound
from flownurture.sending.v1 import ready_made_workflows_pb2 as pb
from flownurture.sending.v1 import workflow_service_pb2
from services.sending.tests.tenant import Tenant
from services.sending.tests.workflow_contacts import WorkflowContacts
from services.sending.tracking.places import tracked_urls

PAGE = "https://shop.test/plums?ripe=yes&kind=blue"
NAMES = ("welcome", "double-opt-in-follow-up", "re-engagement", "post-purchase", "birthday")


async def known(tenant: Tenant) -> dict[str, Any]:
    page = await tenant(pb.ListReadyMadeWorkflowsRequest())
    return {each.name: each for each in page.ready_made_workflows}


def told(ready_made: pb.ReadyMadeWorkflow) -> dict[str, str]:
    """Something for each of its needs."""
    values = {"from_email": "ada@shop.test", "custom_field": "birthday", "website": PAGE}
    return {need.name: values.get(need.name, str(uuid4())) for need in ready_made.needs}


async def test_they_come_in_pages_in_their_order(tenant: Tenant) -> None:
    first = await tenant(pb.ListReadyMadeWorkflowsRequest(page_size=3))
    rest = await tenant(pb.ListReadyMadeWorkflowsRequest(page_size=3, page_token=first.next_page_token))
    both = [*first.ready_made_workflows, *rest.ready_made_workflows]
    assert tuple(each.name for each in both) == NAMES
    assert not rest.next_page_token


@pytest.mark.parametrize("name", NAMES)
async def test_each_is_copied_into_a_draft_that_can_be_activated(tenant: Tenant, name: str) -> None:
    ready_made = (await known(tenant))[name]
    given = told(ready_made)
    made = await tenant(pb.CopyReadyMadeWorkflowRequest(name=name, from_name="Ada", **given))
    assert (made.name, made.status) == (ready_made.title, workflow_service_pb2.WORKFLOW_STATUS_DRAFT)
    assert "$" not in str(made)
    assert out_of_bounds(made) == []
    mails = [step.send_email for step in made.steps if step.HasField("send_email")]
    assert {(mail.from_email, mail.from_name) for mail in mails} == {("ada@shop.test", "Ada")}
    active = await tenant(workflow_service_pb2.ActivateWorkflowRequest(workflow_id=made.id))
    assert active.status == workflow_service_pb2.WORKFLOW_STATUS_ACTIVE


@pytest.mark.parametrize("name", NAMES)
async def test_whose_click_is_waited_for_gets_a_link_that_is_tracked(tenant: Tenant, name: str) -> None:
    given = told((await known(tenant))[name])
    made = await tenant(pb.CopyReadyMadeWorkflowRequest(name=name, **given))
    mails = {step.id: step.send_email.html for step in made.steps}
    awaited = {step.wait.event.happens.email_clicked.step_id for step in made.steps} - {""}
    assert {step_id: tracked_urls(mails[step_id]) for step_id in awaited} == {
        step_id: [PAGE] for step_id in awaited
    }


@pytest.mark.parametrize("name", NAMES)
async def test_what_is_missing_or_has_no_place_is_told(tenant: Tenant, name: str) -> None:
    given = told((await known(tenant))[name])
    others = {"list_id", "tag_id", "segment_id", "custom_field", "website"} - given.keys()
    superfluous = {field: PAGE if field == "website" else str(uuid4()) for field in others}
    with pytest.raises(InvalidRequest) as refused:
        await tenant(pb.CopyReadyMadeWorkflowRequest(name=name, from_email="ada@shop.test", **superfluous))
    assert {wrong.field for wrong in refused.value.violations} == (given.keys() | others) - {"from_email"}


async def test_what_is_not_there_is_not_copied(tenant: Tenant, workflow_contacts: WorkflowContacts) -> None:
    with pytest.raises(NotFound):
        await tenant(pb.CopyReadyMadeWorkflowRequest(name="nothing", from_email="ada@shop.test"))
    gone = str(uuid4())
    workflow_contacts.missing.add(gone)
    with pytest.raises(InvalidRequest):
        await tenant(
            pb.CopyReadyMadeWorkflowRequest(
                name="welcome", from_email="a@shop.test", list_id=gone, website=PAGE
            )
        )
