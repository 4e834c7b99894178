"""Templates that are kept: checked when they are saved, alone or in a layout, for campaigns and messages."""

import asyncio
from email import message_from_bytes, policy
from typing import Any
from uuid import UUID

import pytest
from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct

from chassis.errors import Conflict, FailedPrecondition, InvalidRequest, NotFound
from chassis.identifiers import new_id
from flownurture.sending.v1 import campaigns_pb2, messages_pb2
from flownurture.sending.v1 import templates_pb2 as pb
from flownurture.suppression.v1 import suppressions_pb2
from services.sending.delivery.worker import Worker
from services.sending.fan_out import FanOut
from services.sending.tests.relay import MailRelay
from services.sending.tests.tenant import Tenant

LAYOUT = {"name": "Frame", "html": "<body><h1>Shop</h1>{{- content -}}<p>Bye</p></body>"}
RECEIPT = {
    "name": "Receipt",
    "subject": "Order {{ variables.order }}",
    "html": "<p>{% for item in variables.items %}{{ item.name }} {{ item.price }}, {% endfor %}{{ contact.email }}</p>",
}


def struct(data: dict[str, Any]) -> Struct:
    return ParseDict(data, Struct())


async def add(tenant: Tenant, **fields: Any) -> pb.Template:
    template: pb.Template = await tenant(pb.CreateTemplateRequest(**{**RECEIPT, **fields}))
    return template


def html_of(relay: MailRelay, recipient: str) -> str:
    mail = message_from_bytes(relay.mail_to(recipient), policy=policy.default)
    _, rich = mail.iter_parts()
    return str(rich.get_content())


async def fields_refused(tenant: Tenant, request: Any) -> list[str]:
    with pytest.raises(InvalidRequest) as refused:
        await tenant(request)
    return [violation.field for violation in refused.value.violations]


async def test_a_template_is_kept_changed_and_deleted(tenant: Tenant, stranger: Tenant) -> None:
    template = await add(tenant)
    assert await tenant(pb.GetTemplateRequest(template_id=template.id)) == template
    changed = await tenant(pb.UpdateTemplateRequest(template_id=template.id, subject="Yours"))
    assert (changed.subject, changed.html, changed.name) == ("Yours", template.html, "Receipt")
    (listed,) = (await tenant(pb.ListTemplatesRequest())).templates
    assert (listed.id, listed.subject, listed.html) == (template.id, "Yours", "")
    for request in (
        pb.GetTemplateRequest(template_id=template.id),
        pb.UpdateTemplateRequest(template_id=template.id, subject="x"),
        pb.RenderTemplateRequest(template_id=template.id),
        pb.DeleteTemplateRequest(template_id=template.id),
    ):
        with pytest.raises(NotFound):
            await stranger(request)
    await tenant(pb.DeleteTemplateRequest(template_id=template.id))
    with pytest.raises(NotFound):
        await tenant(pb.GetTemplateRequest(template_id=template.id))


async def test_templates_come_in_pages(tenant: Tenant) -> None:
    ids = [(await add(tenant, name=f"T{number}")).id for number in range(5)]
    seen, token = [], ""
    while True:
        page = await tenant(pb.ListTemplatesRequest(page_size=2, page_token=token))
        seen += [template.id for template in page.templates]
        if not (token := page.next_page_token):
            break
    assert seen == ids[::-1]


async def test_a_template_that_is_not_good_is_not_kept(tenant: Tenant) -> None:
    good = await add(tenant)
    for wrong, fields in (
        ({"subject": "{{ contact.nme }}"}, ["subject"]),
        ({"html": "{% if contact.email %}", "text": "{{ x }}"}, ["html", "text"]),
        ({"html": "", "text": " "}, ["html"]),
        ({"html": "{{ content }}{{ content }}"}, ["html"]),
        ({"layout_id": good.id}, ["layout_id"]),
        ({"layout_id": str(new_id())}, ["layout_id"]),
        ({"layout_id": "x"}, ["layout_id"]),
    ):
        assert await fields_refused(tenant, pb.CreateTemplateRequest(**{**RECEIPT, **wrong})) == fields
        assert await fields_refused(tenant, pb.UpdateTemplateRequest(template_id=good.id, **wrong)) == fields
    assert await tenant(pb.GetTemplateRequest(template_id=good.id)) == good


async def test_a_template_renders_what_it_is_given(tenant: Tenant) -> None:
    template = await add(tenant)
    said = await tenant(
        pb.RenderTemplateRequest(
            template_id=template.id,
            contact=struct({"email": "ada@example.com"}),
            variables=struct({"order": 42, "items": [{"name": "Tea & co", "price": 3.5}]}),
        )
    )
    assert said.subject == "Order 42"
    assert said.html == "<p>Tea &amp; co 3.5, ada@example.com</p>"
    assert said.text == "Tea & co 3.5, ada@example.com"


async def test_what_a_template_cannot_do_with_its_data_is_told(tenant: Tenant) -> None:
    template = await add(tenant, html="<p>\n{{ 1 | divided_by: variables.zero }}</p>")
    request = pb.RenderTemplateRequest(template_id=template.id, variables=struct({"zero": 0}))
    with pytest.raises(InvalidRequest) as refused:
        await tenant(request)
    [violation] = refused.value.violations
    assert (violation.field, violation.message) == ("html", "line 2, column 8: divided_by: can't divide by 0")


async def test_a_template_stands_in_its_layout(tenant: Tenant) -> None:
    layout = await add(tenant, **LAYOUT, subject="")
    assert layout.is_layout
    template = await add(tenant, html="<p>{{ variables.x }}</p>", layout_id=layout.id)
    request = pb.RenderTemplateRequest(template_id=template.id, variables=struct({"x": "<"}))
    said = await tenant(request)
    assert said.html == "<body><h1>Shop</h1><p>&lt;</p><p>Bye</p></body>"
    assert said.text == "Shop\n<\nBye"
    await tenant(pb.UpdateTemplateRequest(template_id=layout.id, html="<main>{{ content }}</main>"))
    assert (await tenant(request)).html == "<main><p>&lt;</p></main>"


async def test_a_layout_stays_one_while_others_stand_in_it(tenant: Tenant) -> None:
    layout = await add(tenant, **LAYOUT)
    template = await add(tenant, layout_id=layout.id)
    assert await fields_refused(tenant, pb.UpdateTemplateRequest(template_id=layout.id, html="<p>x</p>")) == [
        "html"
    ]
    nested = pb.CreateTemplateRequest(**LAYOUT, layout_id=layout.id)
    assert await fields_refused(tenant, nested) == ["layout_id"]
    assert await fields_refused(tenant, pb.RenderTemplateRequest(template_id=layout.id)) == ["template_id"]
    with pytest.raises(Conflict):
        await tenant(pb.DeleteTemplateRequest(template_id=layout.id))
    await tenant(pb.UpdateTemplateRequest(template_id=template.id, layout_id=""))
    await tenant(pb.DeleteTemplateRequest(template_id=layout.id))


async def test_a_layout_of_another_organization_does_not_exist(tenant: Tenant, stranger: Tenant) -> None:
    foreign = await add(stranger, **LAYOUT)
    request = pb.CreateTemplateRequest(**RECEIPT, layout_id=foreign.id)
    assert await fields_refused(tenant, request) == ["layout_id"]


async def test_a_campaign_says_what_its_template_says_at_the_launch(
    tenant: Tenant, worker: Worker, relay: MailRelay, fan_out: FanOut
) -> None:
    template = await add(tenant, html="<p>{{ campaign.name }} one</p>")
    draft = await tenant.draft("ada@example.com", html="", template_id=template.id)
    with pytest.raises(Conflict):
        await tenant(pb.DeleteTemplateRequest(template_id=template.id))
    await tenant(pb.UpdateTemplateRequest(template_id=template.id, html="<p>{{ campaign.name }} two</p>"))
    launched = await tenant(campaigns_pb2.LaunchCampaignRequest(campaign_id=draft.id))
    assert launched.html == "<p>{{ campaign.name }} two</p>"
    await tenant(pb.UpdateTemplateRequest(template_id=template.id, html="<p>three</p>"))
    await tenant(pb.DeleteTemplateRequest(template_id=template.id))
    await fan_out.fan_out(tenant.context, UUID(draft.id))
    await tenant.deliver(worker)
    assert "<p>News two</p>" in html_of(relay, "ada@example.com")


async def test_a_campaign_has_words_of_its_own_or_a_template(tenant: Tenant, stranger: Tenant) -> None:
    template, foreign, layout = await add(tenant), await add(stranger), await add(tenant, **LAYOUT)
    draft = await tenant.draft("ada@example.com")
    for wrong in (template.id, foreign.id):
        request = campaigns_pb2.UpdateCampaignRequest(campaign_id=draft.id, template_id=wrong)
        assert await fields_refused(tenant, request) == ["template_id"]
    for wrong in (foreign.id, layout.id):
        request = campaigns_pb2.UpdateCampaignRequest(campaign_id=draft.id, html="", template_id=wrong)
        assert await fields_refused(tenant, request) == ["template_id"]
    changed = await tenant(
        campaigns_pb2.UpdateCampaignRequest(campaign_id=draft.id, html="", template_id=template.id)
    )
    assert changed.template_id == template.id


async def test_a_message_is_made_of_a_template(tenant: Tenant, worker: Worker, relay: MailRelay) -> None:
    template = await add(tenant)
    variables = struct({"order": 7, "items": [{"name": "Tea", "price": 2}]})
    request = messages_pb2.CreateMessageRequest(
        to="ada@example.com", from_email="ada@shop.test", template_id=template.id, variables=variables
    )
    message = (await tenant(request)).message
    assert message.subject == "Order 7"
    await tenant.deliver(worker)
    assert html_of(relay, "ada@example.com") == "<p>Tea 2, ada@example.com</p>"
    request.html = "<p>x</p>"
    assert await fields_refused(tenant, request) == ["template_id"]


async def test_a_message_is_a_template_only_where_it_is_given_variables(tenant: Tenant) -> None:
    words: dict[str, Any] = {"subject": "{{ variables.a }}", "text": "{{ variables.a }} {{ nobody }}"}
    assert (await tenant.message("ada@example.com", **words)).subject == "{{ variables.a }}"
    request = messages_pb2.CreateMessageRequest(
        to="ada@example.com", from_email="ada@shop.test", **words, variables=struct({"a": 1})
    )
    assert await fields_refused(tenant, request) == ["html", "text"]
    request.text = "{{ variables.a }}"
    assert (await tenant(request)).message.subject == "1"


async def test_a_message_has_a_subject(tenant: Tenant) -> None:
    template = await add(tenant, subject="")
    request = messages_pb2.CreateMessageRequest(
        to="ada@example.com", from_email="ada@shop.test", template_id=template.id
    )
    assert await fields_refused(tenant, request) == ["subject"]


async def test_a_draft_is_tried_out_in_a_few_mailboxes(
    tenant: Tenant, worker: Worker, relay: MailRelay
) -> None:
    draft = await tenant.draft(
        "reader@example.com",
        subject="Hi {{ contact.first_name }}",
        html="<a href='{{ unsubscribe_url }}'>x</a>",
    )
    request = campaigns_pb2.TestCampaignRequest(
        campaign_id=draft.id,
        to=["me@example.com", "you@example.com", "me@example.com"],
        contact=struct({"first_name": "Ada"}),
    )
    sent = (await tenant(request)).messages
    assert [(each.to, each.subject, each.campaign_id) for each in sent] == [
        ("me@example.com", "[Test] Hi Ada", ""),
        ("you@example.com", "[Test] Hi Ada", ""),
    ]
    await tenant.deliver(worker)
    assert relay.handed_over == {"me@example.com": 1, "you@example.com": 1}
    assert (await tenant(campaigns_pb2.GetCampaignRequest(campaign_id=draft.id))).status == draft.status


async def test_a_test_to_somebody_who_must_not_get_mail_goes_to_nobody(tenant: Tenant) -> None:
    draft = await tenant.draft("reader@example.com")
    await tenant(
        suppressions_pb2.CreateSuppressionRequest(
            email="you@example.com", reason=messages_pb2.SUPPRESSION_REASON_MANUAL
        )
    )
    with pytest.raises(FailedPrecondition) as refused:
        await tenant(
            campaigns_pb2.TestCampaignRequest(campaign_id=draft.id, to=["me@example.com", "you@example.com"])
        )
    assert refused.value.reason == "SUPPRESSED"
    assert await tenant.statuses() == {}


async def test_a_layout_that_is_deleted_meanwhile_is_refused(tenant: Tenant) -> None:
    layout = await add(tenant, **LAYOUT)
    outcomes = await asyncio.gather(
        tenant(pb.DeleteTemplateRequest(template_id=layout.id)),
        *(add(tenant, layout_id=layout.id) for _ in range(4)),
        return_exceptions=True,
    )
    failures = [each for each in outcomes if isinstance(each, Exception)]
    assert all(isinstance(each, Conflict | InvalidRequest) for each in failures)
    # Either the layout went first, or somebody stood in it.
    assert isinstance(outcomes[0], Conflict) or len(failures) == 4
