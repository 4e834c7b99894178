"""Workflows from the draft to the archive: what may be kept, what is a version, and what is listened for."""

from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from google.protobuf.json_format import ParseDict

from chassis.errors import Conflict, InvalidRequest, NotFound, PermissionDenied, Unavailable
from flownurture.contacts.v1.segments_pb2 import ENGAGEMENT_OPENED
from flownurture.sending.v1 import templates_pb2
from flownurture.sending.v1 import workflow_service_pb2 as pb
from flownurture.sending.v1.workflows_pb2 import WorkflowCondition, WorkflowStep, WorkflowTrigger
from flownurture.workflows.v1.events_pb2 import SegmentsWatched
from services.sending.tests.hooks import Hooks
from services.sending.tests.team import Team
from services.sending.tests.tenant import Tenant
from services.sending.tests.workflow_contacts import WorkflowContacts
from services.sending.workflows.tests.drafts import LIST, OTHER, TAG, go_to, leave, mail, step, wait, wait_for

SEGMENT = {"segment_entered": {"segment_id": OTHER}}
LATER = {"segment_entered": {"segment_id": TAG}}
JOINED = {"list_joined": {"list_id": LIST}}


def asked(*steps: WorkflowStep, **fields: Any) -> pb.CreateWorkflowRequest:
    content: dict[str, Any] = {"name": "Hello", "trigger": JOINED}
    return pb.CreateWorkflowRequest(**(content | fields), steps=steps or [mail("hello"), leave()])


async def draft(tenant: Tenant, *steps: WorkflowStep, **fields: Any) -> pb.Workflow:
    made: pb.Workflow = await tenant(asked(*steps, **fields))
    return made


async def active(tenant: Tenant, *steps: WorkflowStep, **fields: Any) -> pb.Workflow:
    made = await draft(tenant, *steps, **fields)
    workflow: pb.Workflow = await tenant(pb.ActivateWorkflowRequest(workflow_id=made.id))
    return workflow


async def wrong(tenant: Tenant, request: Any) -> dict[str, str]:
    with pytest.raises(InvalidRequest) as refused:
        await tenant(request)
    return {violation.field: violation.message for violation in refused.value.violations}


async def listeners(tenant: Tenant) -> set[tuple[Any, ...]]:
    rows = await tenant.rows("SELECT kind, subject, version, begins FROM workflow_listeners")
    return {tuple(row) for row in rows}


async def watched(tenant: Tenant) -> list[list[str]]:
    return [list(event.segment_ids) for event in await tenant.published(SegmentsWatched)]


async def test_a_draft_is_kept_changed_in_place_and_deleted(tenant: Tenant, stranger: Tenant) -> None:
    goal = {"event": {"custom_event": {"name": "ordered"}}}
    made = await draft(tenant, goal=goal)
    assert (made.status, made.version, made.HasField("activated_at")) == (pb.WORKFLOW_STATUS_DRAFT, 1, False)
    assert await tenant(pb.GetWorkflowRequest(workflow_id=made.id)) == made
    changed = await tenant(
        pb.UpdateWorkflowRequest(
            workflow_id=made.id, name="Bye", steps=[leave()], without=[pb.WORKFLOW_PART_GOAL]
        )
    )
    assert (changed.name, changed.version, changed.trigger) == ("Bye", 1, made.trigger)
    assert (list(changed.steps), changed.HasField("goal")) == ([leave()], False)
    for request in (
        pb.GetWorkflowRequest(workflow_id=made.id),
        pb.UpdateWorkflowRequest(workflow_id=made.id, name="x"),
        pb.ActivateWorkflowRequest(workflow_id=made.id),
        pb.PauseWorkflowRequest(workflow_id=made.id),
        pb.ArchiveWorkflowRequest(workflow_id=made.id),
        pb.ListWorkflowVersionsRequest(workflow_id=made.id),
        pb.GetWorkflowVersionRequest(workflow_id=made.id, number=1),
        pb.DeleteWorkflowRequest(workflow_id=made.id),
    ):
        with pytest.raises(NotFound):
            await stranger(request)
    await tenant(pb.DeleteWorkflowRequest(workflow_id=made.id))
    with pytest.raises(NotFound):
        await tenant(pb.GetWorkflowRequest(workflow_id=made.id))


async def test_a_page_shows_what_begins_workflows_and_not_what_they_say(tenant: Tenant) -> None:
    made = [await draft(tenant, name=f"W{number}") for number in range(3)]
    await tenant(pb.ActivateWorkflowRequest(workflow_id=made[1].id))
    page = await tenant(pb.ListWorkflowsRequest(page_size=2))
    rest = await tenant(pb.ListWorkflowsRequest(page_size=2, page_token=page.next_page_token))
    assert [each.id for each in (*page.workflows, *rest.workflows)] == [each.id for each in made[::-1]]
    assert not rest.next_page_token
    assert all(each.trigger == made[0].trigger and not each.steps for each in page.workflows)
    (running,) = (await tenant(pb.ListWorkflowsRequest(status=pb.WORKFLOW_STATUS_ACTIVE))).workflows
    assert running.id == made[1].id


async def test_all_that_is_wrong_with_a_document_is_told_at_once_by_its_places(tenant: Tenant) -> None:
    untold = step("untold", send_email={"from_email": "shop@example.com", "subject": "Hello"})
    found = await wrong(
        tenant,
        asked(
            untold,
            step("which", branch={"ways": [], "otherwise": "nowhere"}),
            go_to("x y", "which"),
            trigger={"campaign_opened": {"campaign_id": str(uuid4())}},
        ),
    )
    # The bounds of the contract come first.
    assert found == {"steps[1].branch.ways": "must have at least one element"}
    found = await wrong(
        tenant,
        asked(
            untold,
            step("call", call_webhook={"endpoint_id": str(uuid4())}),
            go_to("x y", "nowhere"),
            trigger={"campaign_opened": {"campaign_id": str(uuid4())}},
        ),
    )
    assert found.keys() == {
        "trigger.campaign_opened.campaign_id",
        "steps[0].send_email.html",
        "steps[1].call_webhook.endpoint_id",
        "steps[2].id",
        "steps[2].go_to.step_id",
    }


async def test_an_endpoint_that_a_step_calls_is_one_of_this_organization(
    tenant: Tenant, stranger: Tenant, hooks: Hooks
) -> None:
    endpoint_id = str(uuid4())
    hooks.add(tenant.context.organization, endpoint_id)
    calling = asked(step("call", call_webhook={"endpoint_id": endpoint_id}), leave())
    assert (await tenant(calling)).id
    assert (await wrong(stranger, calling)).keys() == {"steps[0].call_webhook.endpoint_id"}


async def test_a_member_whom_a_step_notifies_is_one_of_this_organization(
    tenant: Tenant, stranger: Tenant, team: Team
) -> None:
    user_id = str(uuid4())
    team.add(stranger.context.organization, user_id)
    steps = [step("tell", notify_member={"user_id": user_id, "subject": "Look", "text": "Here."}), leave()]
    assert await wrong(tenant, asked(*steps)) == {
        "steps[0].notify_member.user_id": "is not the id of a member"
    }
    await stranger(asked(*steps))


async def test_what_is_not_in_the_contacts_service_is_told_with_all_else_that_is_wrong(
    tenant: Tenant, workflow_contacts: WorkflowContacts
) -> None:
    gone = str(uuid4())
    workflow_contacts.missing.add(gone)
    steps = [
        step("mark", add_tag={"tag_id": gone}),
        step("set", set_field={"field": {"custom_field": gone}, "value": {"string_value": "x"}}),
        step("which", branch={"ways": [{"rule": {"list": {"list_id": gone}}, "step_id": "end"}]}),
        leave(),
        leave("never"),
    ]
    found = await wrong(
        tenant,
        asked(*steps, trigger={"date_field": {"custom_field": gone, "at": {"time": "25:00"}}}),
    )
    assert found.keys() == {
        "trigger.date_field.custom_field",
        "trigger.date_field.at.time",
        "steps[0].add_tag.tag_id",
        "steps[1].set_field",
        "steps[2].branch.ways[0].rule",
    }


async def test_a_rule_beyond_the_plan_is_refused_until_the_plan_has_it(tenant: Tenant) -> None:
    opened = {"rule": {"engagement": {"event": ENGAGEMENT_OPENED}}}
    with pytest.raises(PermissionDenied) as refused:
        await draft(tenant, goal=opened)
    assert refused.value.reason == "PLAN_UPGRADE_REQUIRED"
    tenant.subscribe("advanced_segments")
    made = await draft(tenant, goal=opened)
    tenant.subscribe()
    with pytest.raises(PermissionDenied):
        await tenant(pb.ActivateWorkflowRequest(workflow_id=made.id))


async def test_a_workflow_is_made_once_for_its_key_though_contacts_cannot_be_asked_again(
    tenant: Tenant, workflow_contacts: WorkflowContacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant.context = replace(tenant.context, idempotency_key="once")
    made = await draft(tenant)
    monkeypatch.setattr(workflow_contacts, "down", True)
    assert await draft(tenant) == made
    with pytest.raises(InvalidRequest):
        await draft(tenant, name="Another")
    tenant.context = replace(tenant.context, idempotency_key=None)
    with pytest.raises(Unavailable):
        await draft(tenant)


async def test_mails_of_steps_are_read_when_they_are_saved(tenant: Tenant) -> None:
    broken = step("a", send_email={"from_email": "a@shop.test", "subject": "{{ nobody }}", "text": "{% if"})
    unknown = step("b", send_email={"from_email": "a@shop.test", "template_id": str(uuid4())})
    found = await wrong(tenant, asked(broken, unknown, leave()))
    assert {field.rpartition(".")[0] for field in found} == {"steps[0].send_email", "steps[1].send_email"}


async def test_a_draft_is_looked_at_once_more_when_it_is_activated(tenant: Tenant) -> None:
    template = await tenant(templates_pb2.CreateTemplateRequest(name="T", subject="S", html="<p>Hello</p>"))
    made = await draft(
        tenant, step("a", send_email={"from_email": "a@shop.test", "template_id": template.id}), leave()
    )
    await tenant(templates_pb2.DeleteTemplateRequest(template_id=template.id))
    found = await wrong(tenant, pb.ActivateWorkflowRequest(workflow_id=made.id))
    assert found.keys() == {"steps[0].send_email.template_id"}
    assert (await tenant(pb.GetWorkflowRequest(workflow_id=made.id))).status == pb.WORKFLOW_STATUS_DRAFT


async def test_activating_pausing_and_archiving_twice_is_doing_it_once(tenant: Tenant) -> None:
    made = await draft(tenant)
    for early in (pb.PauseWorkflowRequest, pb.ArchiveWorkflowRequest):
        with pytest.raises(Conflict):
            await tenant(early(workflow_id=made.id))
    for request, status in (
        (pb.ActivateWorkflowRequest, pb.WORKFLOW_STATUS_ACTIVE),
        (pb.PauseWorkflowRequest, pb.WORKFLOW_STATUS_PAUSED),
        (pb.ActivateWorkflowRequest, pb.WORKFLOW_STATUS_ACTIVE),
        (pb.ArchiveWorkflowRequest, pb.WORKFLOW_STATUS_ARCHIVED),
    ):
        first = await tenant(request(workflow_id=made.id))
        assert first.status == status
        assert await tenant(request(workflow_id=made.id)) == first
        with pytest.raises(Conflict):
            await tenant(pb.DeleteWorkflowRequest(workflow_id=made.id))
    for late in (
        pb.ActivateWorkflowRequest(workflow_id=made.id),
        pb.PauseWorkflowRequest(workflow_id=made.id),
        pb.UpdateWorkflowRequest(workflow_id=made.id, name="x"),
        pb.UpdateWorkflowRequest(workflow_id=made.id, steps=[leave()]),
    ):
        with pytest.raises(Conflict):
            await tenant(late)


@pytest.mark.parametrize("paused", [False, True])
async def test_another_document_of_what_was_active_is_another_version(tenant: Tenant, paused: bool) -> None:
    workflow = await active(tenant)
    if paused:
        await tenant(pb.PauseWorkflowRequest(workflow_id=workflow.id))
    same = pb.UpdateWorkflowRequest(workflow_id=workflow.id, steps=workflow.steps, name="Same")
    assert (await tenant(same)).version == 1
    changed = await tenant(pb.UpdateWorkflowRequest(workflow_id=workflow.id, steps=[mail("bye"), leave()]))
    assert (changed.version, changed.steps[0].id, changed.name) == (2, "bye", "Same")
    kept = await tenant.rows("SELECT version, step_id FROM workflow_mails ORDER BY version")
    assert [tuple(row) for row in kept] == [(1, "hello"), (2, "bye")]
    page = await tenant(pb.ListWorkflowVersionsRequest(workflow_id=workflow.id, page_size=1))
    rest = await tenant(
        pb.ListWorkflowVersionsRequest(workflow_id=workflow.id, page_token=page.next_page_token)
    )
    assert [each.number for each in (*page.versions, *rest.versions)] == [2, 1]
    first = await tenant(pb.GetWorkflowVersionRequest(workflow_id=workflow.id, number=1))
    assert (list(first.steps), first.trigger) == (list(workflow.steps), workflow.trigger)
    with pytest.raises(NotFound):
        await tenant(pb.GetWorkflowVersionRequest(workflow_id=workflow.id, number=3))


async def test_the_newest_version_alone_begins_and_all_hear_what_they_wait_for(tenant: Tenant) -> None:
    workflow = await active(tenant, wait_for("read", SEGMENT), leave(), trigger={"campaign_opened": {}})
    assert await listeners(tenant) == {
        ("campaign_opened", "", 1, True),
        ("segment_entered", OTHER, 1, False),
    }
    await tenant(
        pb.UpdateWorkflowRequest(
            workflow_id=workflow.id,
            trigger=ParseDict({"field_changed": {"custom_field": "plan"}}, WorkflowTrigger()),
            goal=ParseDict({"event": {"custom_event": {"name": "ordered"}}}, WorkflowCondition()),
        )
    )
    assert await listeners(tenant) == {
        ("segment_entered", OTHER, 1, False),
        ("field_changed", "custom_fields.plan", 2, True),
        ("segment_entered", OTHER, 2, False),
        ("custom_event", "ordered", 2, False),
    }
    await tenant(pb.ArchiveWorkflowRequest(workflow_id=workflow.id))
    assert await listeners(tenant) == set()


async def test_whoever_watches_segments_is_told_of_all_and_only_when_they_are_others(tenant: Tenant) -> None:
    first = await active(tenant, wait("pause"), leave(), trigger=SEGMENT)
    assert await watched(tenant) == [[OTHER]]
    second = await active(tenant, wait_for("seen", LATER), leave(), trigger=SEGMENT)
    assert await watched(tenant) == [[OTHER], sorted([OTHER, TAG])]
    await tenant(pb.UpdateWorkflowRequest(workflow_id=first.id, name="Other"))
    await tenant(pb.PauseWorkflowRequest(workflow_id=first.id))
    assert len(await watched(tenant)) == 2
    await tenant(pb.PauseWorkflowRequest(workflow_id=second.id))
    await tenant(pb.ActivateWorkflowRequest(workflow_id=second.id))
    await tenant(pb.ArchiveWorkflowRequest(workflow_id=second.id))
    assert (await watched(tenant))[2:] == [[], sorted([OTHER, TAG]), []]


async def test_there_are_no_more_workflows_and_versions_than_one_can_look_through(tenant: Tenant) -> None:
    workflow = await active(tenant, leave(), trigger={"api": {}})
    await tenant.rows(
        "INSERT INTO workflows (id, name, status, version)"
        " SELECT gen_random_uuid(), 'W', CASE WHEN n = 1 THEN 'archived' ELSE 'paused' END, 1 FROM generate_series(1, 200) AS n"
    )
    with pytest.raises(Conflict, match="200"):
        await draft(tenant)
    await tenant.rows("UPDATE workflows SET version = 100 WHERE name = 'Hello'")
    await tenant.rows("UPDATE workflow_versions SET number = 100")
    with pytest.raises(Conflict, match="100"):
        await tenant(pb.UpdateWorkflowRequest(workflow_id=workflow.id, steps=[mail("x"), leave()]))
