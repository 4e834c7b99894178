"""What steps of workflows send arrives once, in the words for each contact, and what they do with it is told with the step."""

import re
from email import message_from_bytes, policy
from email.message import EmailMessage
from uuid import UUID

import pytest
from google.api.httpbody_pb2 import HttpBody

from chassis.database import Database
from chassis.errors import Unavailable
from flownurture.contacts.v1.events_pb2 import ContactsDeleted
from flownurture.sending.v1 import analytics_pb2
from flownurture.sending.v1.events_pb2 import EmailsClicked, EmailsOpened
from flownurture.suppression.v1 import preferences_pb2, unsubscribe_pb2
from flownurture.suppression.v1.events_pb2 import AddressesSuppressed
from services.sending.consumers import ContactsReader, OutcomeReader
from services.sending.delivery.claims import Claimed, claim
from services.sending.delivery.drafts import Drafts
from services.sending.delivery.worker import Worker
from services.sending.domains import Domain
from services.sending.statuses import SuppressionReason
from services.sending.tests.header_check import broken_rules
from services.sending.tests.reader import HTML, PEARS, received
from services.sending.tests.relay import MailRelay
from services.sending.tests.stepping import Stepping
from services.sending.tests.tenant import Tenant
from services.sending.workflow_messages import Send

READER = "reader@example.com"


def mail_to(relay: MailRelay, recipient: str = READER) -> EmailMessage:
    mail = message_from_bytes(relay.mail_to(recipient), policy=policy.default)
    assert isinstance(mail, EmailMessage)
    return mail


def link(mail: EmailMessage, page: str) -> str:
    """The token of the link to a page of the platform."""
    found = re.search(rf"/{page}/([\w-]{{40,}})", mail.as_string().replace("=\n", ""))
    assert found is not None
    return found[1]


@pytest.fixture
async def stepping(tenant: Tenant) -> Stepping:
    return await Stepping.of(
        tenant,
        hello={
            "subject": "Welcome, {{ contact.first_name }}{{ campaign.name }}",
            "html": "<body><p>{{ contact.email }} has {{ contact.custom_fields.plan | upcase }}</p></body>",
        },
        later={"html": HTML},
    )


@pytest.fixture
async def sent(tenant: Tenant, stepping: Stepping, worker: Worker) -> Send:
    """The mail of the later step, delivered to the reader an hour ago."""
    send = stepping.to(READER, "later")
    await stepping.send(send)
    await tenant.deliver(worker)
    await tenant.rows("UPDATE messages SET settled_at = settled_at - interval '1 hour'")
    return send


async def test_each_contact_gets_their_words_once_under_the_header_of_mail_to_many(
    *, tenant: Tenant, stepping: Stepping, worker: Worker, relay: MailRelay, shared: Domain
) -> None:
    names = {f"p{number}@example.com": f"P{number}" for number in range(50)}
    await stepping.send(
        *(
            stepping.to(email, first_name=name, custom_fields={"plan": f"plan {name}"})
            for email, name in names.items()
        ),
        stepping.to(READER, "later"),
    )
    (batch_id,) = await tenant.approve()
    # An order that comes twice.
    for _ in range(2):
        await worker.deliver(tenant.context, batch_id)
    assert relay.handed_over == dict.fromkeys([*names, READER], 1)
    organization = tenant.context.organization.hex
    for recipient, name in names.items():
        mail = mail_to(relay, recipient)
        text, html = (part.get_content() for part in mail.iter_parts())
        assert mail["Subject"] == f"Welcome, {name}"
        assert f"{recipient} has PLAN {name}" in text
        assert f"{recipient} has PLAN {name}" in html
        assert re.search(r'<a href="[^"]+/u/[\w-]+">Unsubscribe</a>', html)
        assert mail["List-Id"] == f"<{organization}.mail.test>"
        assert mail["Feedback-ID"] == f"{stepping.workflow_id.hex}:{organization}:workflow:flownurture"
        assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
        secure = relay.mail_to(recipient).replace(b"List-Unsubscribe: <http:", b"List-Unsubscribe: <https:")
        assert broken_rules(secure, bulk=True) == []
    rows = await tenant.rows("SELECT DISTINCT status, merge_fields FROM messages")
    assert [tuple(row) for row in rows] == [("sent", None)]


async def test_all_messages_of_a_mail_are_made_from_one_draft(
    tenant: Tenant, stepping: Stepping, drafts: Drafts
) -> None:
    await stepping.send(*(stepping.to(f"p{number}@example.com") for number in range(3)))
    await stepping.send(stepping.to("p4@example.com"), stepping.to(READER, "later"))
    first, second = [await _claimed(tenant, batch_id) for batch_id in await tenant.approve()]
    async with tenant.database.tenant_transaction(tenant.context) as session:
        made = await drafts.of(session, first)
        again = await drafts.of(session, second)
    hello = {id(made[message.id].skeleton) for message in first}
    assert hello == {id(again[second[0].id].skeleton)}
    assert id(again[second[1].id].skeleton) not in hello
    assert {message.mailing_id for message in first} == {stepping.mails["hello"].id}


async def _claimed(tenant: Tenant, batch_id: UUID) -> list[Claimed]:
    async with tenant.database.tenant_transaction(tenant.context) as session:
        return list((await claim(session, [batch_id], UUID(int=1))).messages)


async def test_who_does_what_with_a_mail_is_told_with_the_enrollment_and_the_step(
    tenant: Tenant, stepping: Stepping, sent: Send, relay: MailRelay
) -> None:
    mail = await received(tenant, relay)
    assert await mail.click(1) == PEARS
    await mail.open()
    assert await mail.judged(2) == [("clicked", 2, ""), ("opened", 0, "")]
    ((click,),) = [event.engagements for event in await tenant.published(EmailsClicked)]
    ((opened,),) = [event.engagements for event in await tenant.published(EmailsOpened)]
    for engagement, url in ((click, PEARS), (opened, "")):
        assert (engagement.message_id, engagement.contact_id, engagement.campaign_id, engagement.url) == (
            str(mail.message_id),
            str(sent.contact_id),
            "",
            url,
        )
        assert (engagement.workflow_id, engagement.enrollment_id, engagement.step_id) == (
            str(stepping.workflow_id),
            str(sent.enrollment_id),
            "later",
        )
    counted = await tenant.rows("SELECT campaign_id, kind, link_number, messages FROM engagement_counts")
    assert {tuple(row) for row in counted} == {
        (sent.mail_id, "clicked", 0, 1),
        (sent.mail_id, "clicked", 2, 1),
        (sent.mail_id, "opened", 0, 1),
    }
    listed = await tenant(analytics_pb2.ListEventsRequest(contact_id=str(sent.contact_id)))
    assert {(event.campaign_id, event.url) for event in listed.events} == {("", ""), ("", PEARS)}


async def test_a_refusal_counts_against_the_mail_that_it_came_of(
    tenant: Tenant, sent: Send, relay: MailRelay, database: Database
) -> None:
    await tenant(unsubscribe_pb2.UnsubscribeRequest(token=link(mail_to(relay), "u")))
    (told,) = await tenant.published(AddressesSuppressed)
    readers = OutcomeReader(database, None).consumers(None)  # type: ignore[arg-type]
    await tenant.hear([reader for reader in readers if reader.stream == "SUPPRESSION"], told)
    (event,) = await tenant.rows("SELECT kind, campaign_id, workflow_mail_id FROM engagement_events")
    assert tuple(event) == ("unsubscribed", None, sent.mail_id)
    (count,) = await tenant.rows("SELECT campaign_id, kind, messages FROM engagement_counts")
    assert tuple(count) == (sent.mail_id, "unsubscribed", 1)


async def test_who_opted_out_gets_none_whenever_they_said_so(
    tenant: Tenant, stepping: Stepping, sent: Send, worker: Worker, relay: MailRelay
) -> None:
    await stepping.send(stepping.to(READER))
    batches = await tenant.approve()
    await tenant(unsubscribe_pb2.UnsubscribeRequest(token=link(mail_to(relay), "u")))
    for batch_id in batches:
        await worker.deliver(tenant.context, batch_id)
    (refused,) = await stepping.send(stepping.to(READER))
    assert refused is SuppressionReason.UNSUBSCRIBE
    assert relay.handed_over == {READER: 1}
    rows = await tenant.rows("SELECT status, veto_reason, merge_fields FROM messages ORDER BY id")
    assert [tuple(row) for row in rows] == [("sent", None, None), ("vetoed", "unsubscribe", None)]


async def test_who_wants_to_come_back_is_asked_by_who_sent_the_mail(
    tenant: Tenant, sent: Send, worker: Worker, relay: MailRelay
) -> None:
    token = link(mail_to(relay), "p")
    for choice in (b"unsubscribe", b"subscribe"):
        body = HttpBody(content_type="application/x-www-form-urlencoded", data=b"choice=" + choice)
        await tenant(preferences_pb2.ChangePreferencesRequest(token=token, body=body))
    await tenant.deliver(worker)
    asked = message_from_bytes(relay.accepted[-1][1], policy=policy.default)
    assert asked["Reply-To"] == "ada@shop.test"
    assert asked["From"].addresses[0].display_name == "Ada"


async def test_what_was_sent_without_an_answer_is_never_repeated(
    tenant: Tenant, stepping: Stepping, worker: Worker, relay: MailRelay
) -> None:
    async def breaks(_: str) -> None:
        return None

    send = stepping.to(READER, "later")
    await stepping.send(send)
    relay.on_message = breaks
    (batch_id,) = await tenant.approve()
    with pytest.raises(Unavailable):
        await worker.deliver(tenant.context, batch_id)
    await worker.deliver(tenant.context, batch_id)
    await stepping.send(send)
    assert await tenant.statuses() == {READER: "indeterminate"}
    assert relay.handed_over == {READER: 1}


async def test_who_is_erased_gets_none_and_is_in_no_message_any_more(
    tenant: Tenant, stepping: Stepping, worker: Worker, relay: MailRelay, database: Database
) -> None:
    first, second = stepping.to(READER, "later"), stepping.to(READER, first_name="Ada")
    await stepping.send(first)
    await tenant.deliver(worker)
    await stepping.send(second)
    await tenant.hear(
        ContactsReader(database).consumers(None),  # type: ignore[arg-type]
        ContactsDeleted(
            contact_ids=[str(first.contact_id), str(second.contact_id)], email_digests=[first.digest]
        ),
    )
    await tenant.deliver(worker)
    assert relay.handed_over == {READER: 1}
    rows = await tenant.rows("SELECT email, status, veto_reason, merge_fields FROM messages ORDER BY id")
    assert [tuple(row) for row in rows] == [("", "sent", None, None), ("", "vetoed", "erased", None)]
