"""What steps of workflows write is checked where it stands in the document, and kept as it was when the version was made ready."""

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import pytest

from chassis.errors import FieldViolation, InvalidRequest
from flownurture.sending.v1 import templates_pb2
from flownurture.sending.v1 import workflows_pb2 as pb
from services.sending.templating.merge_fields import MergeFields
from services.sending.tests.stepping import Stepping, sending
from services.sending.tests.tenant import Tenant
from services.sending.workflow_mails import check_mails, keep_mails, mails_of

NOWHERE = "01900000-0000-7000-8000-000000000000"
NO_WORDS = {"subject": "", "html": ""}


async def checked(tenant: Tenant, document: pb.WorkflowDocument) -> Sequence[FieldViolation]:
    async with tenant.database.tenant_transaction(tenant.context) as session:
        return await check_mails(session, document)


async def template(tenant: Tenant, **fields: Any) -> str:
    content = {"name": "Hello", "subject": "Hello {{ contact.first_name }}", "html": "<p>Hello</p>"}
    made = await tenant(templates_pb2.CreateTemplateRequest(**{**content, **fields}))
    return str(made.id)


async def test_each_mistake_is_told_by_its_path_in_the_document(tenant: Tenant) -> None:
    layout = await template(tenant, html="<main>{{ content }}</main>")
    hidden = await template(tenant, html="<!-- never closed")
    wordless = await template(tenant, subject="")
    found = await checked(
        tenant,
        sending(
            good={},
            subject={"subject": "{{ contact."},
            field={"html": "{{ contact.shoe_size }}"},
            hidden={"html": "<!-- never closed"},
            unknown={**NO_WORDS, "template_id": NOWHERE},
            layout={**NO_WORDS, "template_id": layout},
            template={**NO_WORDS, "template_id": hidden},
            no_subject={**NO_WORDS, "template_id": wordless},
            own_subject={"html": "", "template_id": wordless},
        ),
    )
    assert [violation.field for violation in found] == [
        "steps[1].send_email.subject",
        "steps[2].send_email.html",
        "steps[3].send_email.html",
        "steps[4].send_email.template_id",
        "steps[5].send_email.template_id",
        "steps[6].send_email.template_id",
        "steps[7].send_email.subject",
    ]
    assert "no such template" in found[3].message
    assert found[5].message.startswith("cannot be used: its html hides the link")


async def test_another_organizations_template_is_unknown(tenant: Tenant, stranger: Tenant) -> None:
    theirs = await template(stranger)
    (violation,) = await checked(tenant, sending(hello={**NO_WORDS, "template_id": theirs}))
    assert violation.field == "steps[0].send_email.template_id"


async def test_no_more_is_told_than_anybody_reads(tenant: Tenant) -> None:
    wrong = {f"s{number}": {"subject": "{{"} for number in range(30)}
    assert len(await checked(tenant, sending(**wrong))) == 20


async def test_what_is_wrong_is_not_kept(tenant: Tenant) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await Stepping.of(tenant, good={}, bad={"html": "{{ contact.shoe_size }}"})
    assert [violation.field for violation in refused.value.violations] == ["steps[1].send_email.html"]
    assert await tenant.rows("SELECT FROM workflow_mails") == []


async def test_each_step_tells_which_fields_its_mail_needs(tenant: Tenant) -> None:
    named = await template(tenant, html="{{ contact.custom_fields.plan }} {{ contact.email }}")
    stepping = await Stepping.of(tenant, plain={}, named={**NO_WORDS, "template_id": named})
    assert {step_id: mail.merge_fields for step_id, mail in stepping.mails.items()} == {
        "plain": MergeFields(),
        "named": MergeFields(("first_name",), ("plan",)),
    }


async def test_a_version_keeps_what_its_template_said_whatever_becomes_of_it(tenant: Tenant) -> None:
    template_id = await template(tenant, html='<a href="https://shop.test/old">Old</a>')
    document = sending(hello={**NO_WORDS, "template_id": template_id})
    workflow_id = uuid4()
    async with tenant.database.tenant_transaction(tenant.context) as session:
        await keep_mails(session, workflow_id, 1, document)
        first = await mails_of(session, workflow_id, 1)
    await tenant(
        templates_pb2.UpdateTemplateRequest(
            template_id=template_id, html='<a href="https://shop.test/new">New</a>'
        )
    )
    async with tenant.database.tenant_transaction(tenant.context) as session:
        # Once more, as after a pause; and the next version.
        await keep_mails(session, workflow_id, 1, document)
        await keep_mails(session, workflow_id, 2, document)
        assert await mails_of(session, workflow_id, 1) == first
    kept = await tenant.rows("SELECT version, subject, html, text FROM workflow_mails ORDER BY version")
    assert [(row.version, "old" in row.html, "old" in row.text) for row in kept] == [
        (1, True, True),
        (2, False, False),
    ]
    links = await tenant.rows(
        "SELECT url FROM campaign_links JOIN workflow_mails ON id = campaign_id ORDER BY version"
    )
    assert [row.url for row in links] == ["https://shop.test/old", "https://shop.test/new"]
