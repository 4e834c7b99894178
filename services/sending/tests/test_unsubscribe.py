"""The link in every campaign mail, as a person, a mail client and a prefetcher use it (RFC 8058)."""

import re
from email import message_from_bytes, policy
from email.message import EmailMessage

import pytest

from chassis.errors import Conflict, InvalidRequest, NotFound
from flownurture.sending.v1 import messages_pb2
from flownurture.suppression.v1 import suppressions_pb2 as pb
from flownurture.suppression.v1 import unsubscribe_pb2
from flownurture.suppression.v1.events_pb2 import AddressesSuppressed, SuppressionsLifted
from services.sending.delivery.worker import Worker
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


def token_of(mail: EmailMessage) -> str:
    return str(mail["List-Unsubscribe"]).strip("<>").rpartition("/")[2]


async def test_every_campaign_mail_offers_one_click_and_a_visible_link(mail: EmailMessage) -> None:
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    url = re.fullmatch(r"<(http://mail\.test/u/[\w-]+)>|<(https?://\S+/u/[\w-]+)>", mail["List-Unsubscribe"])
    assert url is not None
    address = url[1] or url[2]
    text, html = (part.get_content() for part in mail.iter_parts())
    assert text.rstrip().endswith(f"Unsubscribe: {address}")
    assert f'<a href="{address}">Unsubscribe</a></p></body>' in html
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


async def test_a_single_message_carries_no_unsubscribe_link(
    tenant: Tenant, worker: Worker, relay: MailRelay
) -> None:
    await tenant.message("reader@example.com")
    await tenant.deliver(worker)
    assert b"List-Unsubscribe" not in relay.mail_to("reader@example.com")


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
