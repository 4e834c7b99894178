"""The ways to opt out that every campaign mail offers, as a person, a mail client and a prefetcher use them (RFC 8058, RFC 2369)."""

import re
from collections.abc import AsyncIterator
from email import message_from_bytes, policy
from email.message import EmailMessage

import pytest
from aiosmtplib import SMTP

from chassis.database import Database
from chassis.errors import Conflict, InvalidRequest, NotFound
from flownurture.sending.v1 import messages_pb2
from flownurture.suppression.v1 import suppressions_pb2 as pb
from flownurture.suppression.v1 import unsubscribe_pb2
from flownurture.suppression.v1.events_pb2 import AddressesSuppressed, SuppressionsLifted
from services.sending.delivery.settings import DeliverySettings
from services.sending.delivery.worker import Worker
from services.sending.feedback.intake import Intake
from services.sending.feedback.listener import FeedbackListener
from services.sending.feedback.opt_outs import OptOuts
from services.sending.signed_addresses import UnsubscribeAddresses
from services.sending.tests.relay import MailRelay
from services.sending.tests.tenant import Tenant


@pytest.fixture
async def mail(tenant: Tenant, worker: Worker, relay: MailRelay) -> EmailMessage:
    """A campaign's mail as it was received."""
    await tenant.launch("reader@example.com", html="<html><body><p>Hello</p></body></html>", text="Hello")
    await tenant.deliver(worker)
    read = message_from_bytes(relay.mail_to("reader@example.com"), policy=policy.default)
    assert isinstance(read, EmailMessage)
    return read


@pytest.fixture
async def feedback(database: Database, settings: DeliverySettings, intake: Intake) -> AsyncIterator[SMTP]:
    """A connection to the feedback process."""
    opt_outs = OptOuts(database, UnsubscribeAddresses(settings.link_keys))
    async with (
        FeedbackListener(intake, opt_outs, "127.0.0.1:0") as listener,
        SMTP(hostname="127.0.0.1", port=listener.port, start_tls=False) as client,
    ):
        yield client


def uris_of(mail: EmailMessage) -> list[str]:
    return re.findall("<([^>]+)>", mail["List-Unsubscribe"])


def token_of(mail: EmailMessage) -> str:
    return uris_of(mail)[0].rpartition("/")[2]


def address_of(mail: EmailMessage) -> str:
    """To whom a mail opts out."""
    return uris_of(mail)[1].removeprefix("mailto:").partition("?")[0]


async def write(client: SMTP, *recipients: str) -> None:
    await client.sendmail("reader@example.com", recipients, b"Subject: unsubscribe\r\n\r\n")


async def test_every_campaign_mail_offers_one_click_and_a_visible_link(mail: EmailMessage) -> None:
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    url, address = uris_of(mail)
    assert re.fullmatch(r"https?://\S+/u/[\w-]+", url)
    assert re.fullmatch(r"mailto:[a-z2-7]{64}@mail\.test\?subject=unsubscribe", address)
    text, html = (part.get_content() for part in mail.iter_parts())
    preferences = url.replace("/u/", "/p/").rpartition("/")[0]
    assert re.search(
        rf"\n-- \nUnsubscribe: {url}\nPreferences: {preferences}/[\w-]+\n", text.replace("\r\n", "\n")
    )
    assert re.search(
        rf'<a href="{url}">Unsubscribe</a> · <a href="{preferences}/[\w-]+">Preferences</a></p></body>', html
    )
    assert not mail.defects


async def test_reading_the_page_changes_nothing(tenant: Tenant, mail: EmailMessage) -> None:
    page = await tenant(unsubscribe_pb2.GetUnsubscribePageRequest(token=token_of(mail)))
    assert page.content_type.startswith("text/html")
    assert page.data.count(b"<button") == 1
    assert b'<form method="post">' in page.data
    assert not (await tenant(pb.ListSuppressionsRequest())).suppressions


async def test_one_click_opts_out_once_however_often_it_is_clicked(
    tenant: Tenant, mail: EmailMessage
) -> None:
    for _ in range(3):
        await tenant(unsubscribe_pb2.UnsubscribeRequest(token=token_of(mail)))
    (entry,) = (await tenant(pb.ListSuppressionsRequest(email="reader@example.com"))).suppressions
    assert entry.reason == messages_pb2.SUPPRESSION_REASON_UNSUBSCRIBE
    assert entry.email == "reader@example.com"
    assert len(await tenant.published(AddressesSuppressed)) == 1


async def test_a_mail_to_the_address_opts_out_once_however_often_it_comes(
    tenant: Tenant, mail: EmailMessage, feedback: SMTP
) -> None:
    for _ in range(2):
        await write(feedback, address_of(mail).upper(), "somebody@mail.test")
    (entry,) = (await tenant(pb.ListSuppressionsRequest(email="reader@example.com"))).suppressions
    assert entry.reason == messages_pb2.SUPPRESSION_REASON_UNSUBSCRIBE
    assert len(await tenant.published(AddressesSuppressed)) == 1


async def test_a_mail_to_a_forged_address_changes_nothing(
    tenant: Tenant, mail: EmailMessage, feedback: SMTP, relay: MailRelay
) -> None:
    address = address_of(mail)
    forged = [
        address[:place] + ("a" if address[place] != "a" else "b") + address[place + 1 :]
        for place in (0, 30, 63)
    ]
    # What is authentic, but says that a mail bounced, is no opt-out either.
    await write(feedback, *forged, relay.return_paths["reader@example.com"])
    assert not (await tenant(pb.ListSuppressionsRequest())).suppressions


async def test_a_mail_about_a_message_to_an_erased_person_is_taken(
    tenant: Tenant, mail: EmailMessage, feedback: SMTP
) -> None:
    await tenant.rows("UPDATE messages SET email = '', email_digest = decode(repeat('00', 32), 'hex')")
    await write(feedback, address_of(mail))
    assert not (await tenant(pb.ListSuppressionsRequest())).suppressions


async def test_a_link_outlives_the_message_it_stood_in(tenant: Tenant, mail: EmailMessage) -> None:
    await tenant.rows("DELETE FROM message_contents")
    await tenant.rows("UPDATE messages SET email_digest = sha256('gone')")
    await tenant(unsubscribe_pb2.UnsubscribeRequest(token=token_of(mail)))
    listed = await tenant(pb.ListSuppressionsRequest(email="reader@example.com"))
    assert [entry.reason for entry in listed.suppressions] == [messages_pb2.SUPPRESSION_REASON_UNSUBSCRIBE]


async def test_a_tampered_link_is_not_found_and_changes_nothing(tenant: Tenant, mail: EmailMessage) -> None:
    token = token_of(mail)
    for place in range(0, len(token), 7):
        forged = token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
        with pytest.raises(NotFound):
            await tenant(unsubscribe_pb2.UnsubscribeRequest(token=forged))
        with pytest.raises(NotFound):
            await tenant(unsubscribe_pb2.GetUnsubscribePageRequest(token=forged))
    assert not (await tenant(pb.ListSuppressionsRequest())).suppressions


async def test_a_single_message_that_promotes_something_offers_the_same(
    tenant: Tenant, worker: Worker, relay: MailRelay, feedback: SMTP
) -> None:
    await tenant.message("reader@example.com", category=messages_pb2.MESSAGE_CATEGORY_MARKETING)
    await tenant.deliver(worker)
    mail = message_from_bytes(relay.mail_to("reader@example.com"), policy=policy.default)
    assert isinstance(mail, EmailMessage)
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert mail["List-Id"]
    for part in mail.iter_parts():
        assert uris_of(mail)[0] in part.get_content()
    await write(feedback, address_of(mail))
    await tenant(unsubscribe_pb2.UnsubscribeRequest(token=token_of(mail)))
    assert len((await tenant(pb.ListSuppressionsRequest(email="reader@example.com"))).suppressions) == 1


async def test_a_single_message_carries_no_unsubscribe_link(
    tenant: Tenant, worker: Worker, relay: MailRelay
) -> None:
    await tenant.message("reader@example.com")
    await tenant.deliver(worker)
    mail = relay.mail_to("reader@example.com")
    assert b"List-" not in mail
    assert b"/u/" not in mail


async def test_only_the_person_lifts_an_opt_out(tenant: Tenant, mail: EmailMessage) -> None:
    await tenant(unsubscribe_pb2.UnsubscribeRequest(token=token_of(mail)))
    (entry,) = (await tenant(pb.ListSuppressionsRequest())).suppressions
    with pytest.raises(Conflict):
        await tenant(pb.DeleteSuppressionRequest(suppression_id=entry.id))
    assert (await tenant(pb.ListSuppressionsRequest())).suppressions == [entry]


async def test_a_manual_entry_is_made_once_and_can_be_lifted(tenant: Tenant, stranger: Tenant) -> None:
    request = pb.CreateSuppressionRequest(
        email="Reader@Example.com", reason=messages_pb2.SUPPRESSION_REASON_MANUAL, note="asked by phone"
    )
    entry = await tenant(request)
    assert await tenant(request) == entry
    with pytest.raises(NotFound):
        await stranger(pb.DeleteSuppressionRequest(suppression_id=entry.id))
    await tenant(pb.DeleteSuppressionRequest(suppression_id=entry.id))
    assert not (await tenant(pb.ListSuppressionsRequest())).suppressions
    assert len(await tenant.published(SuppressionsLifted)) == 1


async def test_nobody_writes_a_fact_by_hand(tenant: Tenant) -> None:
    for reason in (
        messages_pb2.SUPPRESSION_REASON_UNSUBSCRIBE,
        messages_pb2.SUPPRESSION_REASON_HARD_BOUNCE,
        messages_pb2.SUPPRESSION_REASON_COMPLAINT,
    ):
        with pytest.raises(InvalidRequest) as refused:
            await tenant(pb.CreateSuppressionRequest(email="reader@example.com", reason=reason))
        assert [violation.field for violation in refused.value.violations] == ["reason"]
