"""A campaign's templates, from the draft to what each recipient reads."""

from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

import pytest

from chassis.errors import InvalidRequest
from flownurture.contacts.v1.events_pb2 import ContactsDeleted
from flownurture.sending.v1 import campaigns_pb2 as pb
from services.sending.bodies import Body
from services.sending.consumers import ContactsReader
from services.sending.delivery.worker import Worker
from services.sending.tests.audience import Audience
from services.sending.tests.relay import MailRelay
from services.sending.tests.tenant import Tenant

SHOP: dict[str, Any] = {
    "name": "Spring",
    "subject": "{{ contact.first_name | default: 'Hello' }}, your {{ contact.custom_fields.plan }} plan",
    "html": "<body><p>{{ contact.first_name }} {{ contact.email }} {{ campaign.name }}</p></body>",
    "text": "",
}


def read(relay: MailRelay, recipient: str) -> EmailMessage:
    mail = message_from_bytes(relay.mail_to(recipient), policy=policy.default)
    assert isinstance(mail, EmailMessage)
    return mail


async def test_each_recipient_reads_their_own_mail(
    tenant: Tenant, audience: Audience, worker: Worker, relay: MailRelay
) -> None:
    audience.known["ada@example.com"] = {"first_name": "Ada <3", "plan": "pro", "secret": "x"}
    await tenant.launch("ada@example.com", "bob@example.com", **SHOP)
    kept = await tenant.rows("SELECT email, merge_fields FROM messages ORDER BY email")
    assert [tuple(row) for row in kept] == [
        ("ada@example.com", {"first_name": "Ada <3", "custom_fields": {"plan": "pro"}}),
        ("bob@example.com", {"first_name": "", "custom_fields": {}}),
    ]
    await tenant.deliver(worker)
    ada, bob = read(relay, "ada@example.com"), read(relay, "bob@example.com")
    assert (ada["Subject"], bob["Subject"]) == ("Ada <3, your pro plan", "Hello, your plan")
    plain, rich = (part.get_content() for part in ada.iter_parts())
    assert "<p>Ada &lt;3 ada@example.com Spring</p>" in rich
    # Derived from the HTML, and yet not escaped as HTML is.
    assert plain.startswith("Ada <3 ada@example.com Spring\r\n")
    # What was said of them is not kept once it is sent.
    assert await tenant.rows("SELECT FROM messages WHERE merge_fields IS NOT NULL") == []


async def test_a_mailing_that_names_no_field_keeps_none(tenant: Tenant) -> None:
    await tenant.launch("ada@example.com")
    assert await tenant.rows("SELECT FROM messages WHERE merge_fields IS NOT NULL") == []


async def test_what_is_wrong_with_a_template_is_told_when_it_is_saved(tenant: Tenant) -> None:
    wrong: dict[str, Any] = {
        "subject": "{{ contact.nme }}",
        "html": "<p>\n{% if contact.email %}</p>",
        "text": "{{ 'a' | b }}",
    }
    draft = await tenant.draft("reader@example.com")
    for request in (
        pb.CreateCampaignRequest(name="N", from_email="a@shop.test", audience=draft.audience, **wrong),
        pb.UpdateCampaignRequest(campaign_id=draft.id, **wrong),
    ):
        with pytest.raises(InvalidRequest) as refused:
            await tenant(request)
        assert [(each.field, each.message.partition(":")[0]) for each in refused.value.violations] == [
            ("subject", "line 1, column 4"),
            ("html", "line 2, column 27"),
            ("text", "line 1, column 10"),
        ]
    assert await tenant(pb.GetCampaignRequest(campaign_id=draft.id)) == draft


async def test_who_a_mail_cannot_be_written_to_fails_alone(
    tenant: Tenant, audience: Audience, worker: Worker, relay: MailRelay
) -> None:
    people = [f"r{number}@example.com" for number in range(25)]
    for number, email in enumerate(people):
        audience.known[email] = {"parts": number % 5}
    campaign_id = await tenant.launch(*people, text="{{ 100 | divided_by: contact.custom_fields.parts }}")
    await tenant.deliver(worker)
    report = await tenant.report(campaign_id)
    assert (report.sent, report.failed, report.audience) == (20, 5, 25)
    assert {people[number] for number in range(0, 25, 5)}.isdisjoint(relay.handed_over)
    [told] = await tenant.rows("SELECT DISTINCT smtp_reply FROM messages WHERE status = 'failed'")
    assert (
        told.smtp_reply
        == "The template cannot be used. text, line 1, column 10: divided_by: can't divide by 0"
    )


async def test_what_a_mailing_says_of_a_person_is_forgotten_with_them(
    tenant: Tenant, audience: Audience
) -> None:
    audience.known["ada@example.com"] = {"first_name": "Ada"}
    await tenant.launch("ada@example.com", **SHOP)
    [contact] = await tenant.rows("SELECT contact_id FROM messages")
    event = ContactsDeleted(contact_ids=[str(contact.contact_id)], email_digests=[])
    await tenant.hear(ContactsReader(tenant.database).consumers(None), event)  # type: ignore[arg-type]
    assert await tenant.rows("SELECT FROM messages WHERE merge_fields IS NOT NULL") == []


async def test_nobody_gets_it_who_is_left_out(tenant: Tenant) -> None:
    campaign_id = await tenant.launch("ada@example.com", "bob@example.com", without=["bob@example.com"])
    assert list(await tenant.statuses()) == ["ada@example.com"]
    campaign = await tenant(pb.GetCampaignRequest(campaign_id=campaign_id))
    assert len(campaign.audience.exclude.list_ids) == 1


async def test_an_audience_names_somebody(tenant: Tenant) -> None:
    draft = await tenant.draft("ada@example.com")
    nobody = pb.CampaignAudience(exclude=pb.AudienceExclusion(tags=["vip"]))
    with pytest.raises(InvalidRequest) as refused:
        await tenant(pb.UpdateCampaignRequest(campaign_id=draft.id, audience=nobody))
    assert [violation.field for violation in refused.value.violations] == ["audience"]
    for somebody in (pb.CampaignAudience(tags=["vip"]), pb.CampaignAudience(segment_ids=[draft.id])):
        changed = await tenant(pb.UpdateCampaignRequest(campaign_id=draft.id, audience=somebody))
        assert changed.audience == somebody


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>{% if contact.a<b %}<a href='{{ unsubscribe_url }}'>Bye</a>{% endif %}</p>",
         "{% if contact.a<b %}Bye ({{ unsubscribe_url }}){% endif %}"),
        ('<p title="{{ \'<\' }}">{{ "a>b" | escape }} &amp; c</p>', '{{ "a>b" | escape }} & c'),
    ],
)  # fmt: skip
def test_a_text_is_derived_around_the_marks_of_a_template(html: str, text: str) -> None:
    assert Body.of(html, "").text == text


def test_html_is_derived_around_the_marks_of_a_template() -> None:
    text = "{{ contact.first_name | default: \"you & 'me'\" }} <3\n\n{% if a < b %}x{% endif %}"
    assert Body.of("", text).html == (
        "<p>{{ contact.first_name | default: \"you & 'me'\" }} &lt;3</p><p>{% if a < b %}x{% endif %}</p>"
    )
