"""What sending makes of what happens to contacts: whom they erase, who comes back, who moves, who has to confirm."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from chassis.consumer import Consumer
from chassis.database import Database
from chassis.email_address import EmailAddress
from chassis.errors import Unavailable
from chassis.identifiers import new_id
from flownurture.contacts.v1 import events_pb2 as pb
from flownurture.sending.v1 import campaigns_pb2, messages_pb2
from flownurture.suppression.v1 import suppressions_pb2
from flownurture.suppression.v1.events_pb2 import AddressesSuppressed, SuppressionsLifted
from services.sending.consumers import ContactsReader
from services.sending.delivery.worker import Worker
from services.sending.fan_out import FanOut
from services.sending.statuses import MessageStatus, SuppressionReason
from services.sending.suppression_list import Suppressed, suppress
from services.sending.tests.audience import Audience
from services.sending.tests.relay import MailRelay
from services.sending.tests.tenant import Tenant
from services.sending.tests.test_veto import opt_out
from services.sending.unsubscribe_links import UnsubscribeLinks

READER = "reader@example.com"


def digest(email: str) -> bytes:
    return EmailAddress.parse(email).digest


async def erase(tenant: Tenant, email: str, contact_id: str = "") -> None:
    event = pb.ContactsDeleted(contact_ids=[contact_id or str(new_id())], email_digests=[digest(email)])
    await tenant.hear(ContactsReader(tenant.database).consumers(None), event)  # type: ignore[arg-type]


Confirm = Callable[[str, datetime], Awaitable[None]]


@pytest.fixture
def confirm(tenant: Tenant, suppression_readers: list[Consumer]) -> Confirm:
    """Has the suppression process hear that somebody has confirmed."""

    async def confirm(email: str, at: datetime) -> None:
        event = pb.AddressResubscribed(email_digest=digest(email))
        event.confirmed_at.FromDatetime(at)
        await tenant.hear(suppression_readers, event)

    return confirm


async def order(tenant: Tenant, email: str, event_id: UUID | None = None) -> UUID:
    event = pb.SendConfirmationMail(
        submission_id=str(new_id()),
        to=email,
        from_email="news@shop.test",
        from_name="The Shop",
        subject="Is it you?",
        html="<p>Press</p>",
        text="Press",
    )
    return await tenant.hear(ContactsReader(tenant.database).consumers(None), event, event_id)  # type: ignore[arg-type]


async def refuse(tenant: Tenant, email: str, reason: SuppressionReason) -> None:
    async with tenant.database.tenant_transaction(tenant.context) as session:
        await suppress(session, [Suppressed(digest(email), reason)])


async def reasons(tenant: Tenant, email: str) -> set[str]:
    rows = await tenant.rows(
        "SELECT reason FROM suppressions WHERE email_digest = :digest", digest=digest(email)
    )
    return {row.reason for row in rows}


async def test_an_erased_person_is_in_no_message_any_more(tenant: Tenant, worker: Worker) -> None:
    campaign = await tenant.launch(READER, "other@example.com")
    await tenant.deliver(worker)
    await tenant.message(READER, text=f"Dear {READER}")
    await tenant.deliver(worker)
    await refuse(tenant, READER, SuppressionReason.UNSUBSCRIBE)
    await tenant.rows("UPDATE suppressions SET email = :email, note = :email", email=READER)
    (row,) = await tenant.rows(
        "SELECT contact_id FROM messages WHERE email = :email AND contact_id IS NOT NULL", email=READER
    )
    for _ in range(2):
        await erase(tenant, READER, str(row.contact_id))
        for table in ("messages", "message_contents", "message_events", "suppressions"):
            rows = await tenant.rows(f"SELECT {table}::text AS content FROM {table}")
            assert not [
                each for each in rows if READER in each.content or digest(READER).hex() in each.content
            ] or (table == "suppressions")
    (kept,) = await tenant.rows("SELECT email, note, reason FROM suppressions")
    assert (kept.email, kept.note, kept.reason) == ("", "", "unsubscribe")
    report = await tenant.report(campaign)
    assert (report.audience, report.sent) == (2, 2)
    assert await tenant.rows("SELECT 1 FROM messages WHERE email = 'other@example.com'")


async def test_nothing_that_was_found_of_an_erased_persons_mail_tells_who_it_was(
    tenant: Tenant, worker: Worker, relay: MailRelay
) -> None:
    async def is_full(_: str) -> str:
        return "552 5.2.2 full"

    relay.on_recipient = is_full
    await tenant.launch(READER, "other@example.com")
    await tenant.message(READER)
    await tenant.deliver(worker)
    (row,) = await tenant.rows(
        "SELECT contact_id FROM messages WHERE email = :email AND contact_id IS NOT NULL", email=READER
    )
    await erase(tenant, READER, str(row.contact_id))
    found = await tenant.rows("SELECT kind, email_digest FROM feedback_findings ORDER BY id")
    # What became of their mail stays, and whose it is stays where nobody asked to be forgotten.
    assert [each.kind for each in found] == ["soft"] * 3
    assert sorted(bytes(each.email_digest) for each in found) == sorted(
        [bytes(32), bytes(32), digest("other@example.com")]
    )


async def test_who_is_erased_before_a_message_is_claimed_gets_none_and_the_campaign_ends(
    tenant: Tenant, worker: Worker, relay: MailRelay
) -> None:
    campaign = await tenant.launch(READER, "other@example.com")
    await tenant.approve()
    (row,) = await tenant.rows("SELECT contact_id FROM messages WHERE email = :email", email=READER)
    await erase(tenant, READER, str(row.contact_id))
    await tenant.deliver(worker)
    assert relay.handed_over == {"other@example.com": 1}
    report = await tenant.report(campaign)
    assert (report.audience, report.sent, report.vetoed) == (2, 1, 1)
    (vetoed,) = await tenant.rows("SELECT veto_reason FROM messages WHERE status = 'vetoed'")
    assert vetoed.veto_reason == "erased"
    used = await tenant.rows("SELECT emails FROM email_usage")
    assert [row.emails for row in used] == [1]


async def test_what_is_being_handed_over_is_forgotten_when_it_is_settled(tenant: Tenant) -> None:
    await tenant.message(READER)
    await tenant.approve()
    await tenant.rows("UPDATE batches SET lease_token = gen_random_uuid(), leased_at = now()")
    with pytest.raises(Unavailable):
        await erase(tenant, READER)
    assert await tenant.rows("SELECT 1 FROM messages WHERE email = :email", email=READER)
    await tenant.rows("UPDATE messages SET status = 'sent'")
    await tenant.rows("UPDATE batches SET lease_token = NULL, leased_at = NULL")
    await erase(tenant, READER)
    assert not await tenant.rows("SELECT 1 FROM messages WHERE email = :email", email=READER)


async def test_another_organization_forgets_nobody(tenant: Tenant, stranger: Tenant) -> None:
    await tenant.message(READER)
    await erase(stranger, READER)
    assert await tenant.rows("SELECT 1 FROM messages WHERE email = :email", email=READER)


async def test_a_confirmation_mail_reaches_who_unsubscribed_once_however_often_it_is_ordered(
    tenant: Tenant, worker: Worker, relay: MailRelay
) -> None:
    await refuse(tenant, READER, SuppressionReason.UNSUBSCRIBE)
    event_id = await order(tenant, READER)
    await order(tenant, READER, event_id)
    await tenant.deliver(worker)
    assert relay.handed_over == {READER: 1}
    (sent,) = await tenant.rows("SELECT status, category FROM messages")
    assert (sent.status, sent.category) == (MessageStatus.SENT.value, "confirmation")
    # Nobody was written to by the organization yet.
    assert await tenant.rows("SELECT 1 FROM email_usage WHERE emails > 0") == []


@pytest.mark.parametrize(
    "reason", [SuppressionReason.COMPLAINT, SuppressionReason.HARD_BOUNCE, SuppressionReason.MANUAL]
)
async def test_a_confirmation_mail_never_reaches_who_complained_or_bounced(
    tenant: Tenant, worker: Worker, relay: MailRelay, reason: SuppressionReason
) -> None:
    await order(tenant, READER)
    await refuse(tenant, READER, reason)
    await tenant.deliver(worker)
    await order(tenant, READER)
    await refuse(tenant, "late@example.com", SuppressionReason.UNSUBSCRIBE)
    await order(tenant, "late@example.com")
    (_, batch) = await tenant.approve()
    await refuse(tenant, "late@example.com", reason)
    await worker.deliver(tenant.context, batch)
    assert relay.handed_over == {}


async def test_who_confirms_gets_mail_again(
    tenant: Tenant, confirm: Confirm, worker: Worker, relay: MailRelay
) -> None:
    await refuse(tenant, READER, SuppressionReason.UNSUBSCRIBE)
    for _ in range(2):
        await confirm(READER, datetime.now(UTC))
    assert await reasons(tenant, READER) == set()
    (lifted,) = await tenant.published(SuppressionsLifted)
    assert lifted.addresses[0].digest == digest(READER)
    await tenant.launch(READER)
    await tenant.deliver(worker)
    assert relay.handed_over == {READER: 1}


async def test_an_opt_out_after_the_confirmation_stays_whichever_is_told_first(
    tenant: Tenant, confirm: Confirm, links: UnsubscribeLinks, worker: Worker
) -> None:
    await tenant.launch(READER)
    await tenant.deliver(worker)
    confirmed_at = datetime.now(UTC)
    await opt_out(tenant, links, READER)
    await confirm(READER, confirmed_at)
    assert await reasons(tenant, READER) == {"unsubscribe"}


async def test_who_opts_out_once_more_while_being_welcomed_back_stays_out(
    tenant: Tenant, confirm: Confirm, links: UnsubscribeLinks, worker: Worker
) -> None:
    await tenant.launch(READER)
    await tenant.deliver(worker)
    await opt_out(tenant, links, READER)
    confirmed_at = datetime.now(UTC)
    await opt_out(tenant, links, READER)
    await confirm(READER, confirmed_at)
    assert await reasons(tenant, READER) == {"unsubscribe"}
    assert len(await tenant.published(AddressesSuppressed)) == 1


async def test_an_old_link_opts_out_again_after_a_resubscription(
    tenant: Tenant, confirm: Confirm, links: UnsubscribeLinks, worker: Worker
) -> None:
    await tenant.launch(READER)
    await tenant.deliver(worker)
    await opt_out(tenant, links, READER)
    await confirm(READER, datetime.now(UTC))
    assert await reasons(tenant, READER) == set()
    await opt_out(tenant, links, READER)
    assert await reasons(tenant, READER) == {"unsubscribe"}


@pytest.mark.parametrize(
    "reason", [SuppressionReason.COMPLAINT, SuppressionReason.HARD_BOUNCE, SuppressionReason.MANUAL]
)
async def test_a_confirmation_lifts_nothing_but_an_unsubscribe(
    tenant: Tenant, confirm: Confirm, reason: SuppressionReason
) -> None:
    await refuse(tenant, READER, reason)
    await refuse(tenant, READER, SuppressionReason.UNSUBSCRIBE)
    await confirm(READER, datetime.now(UTC) + timedelta(hours=1))
    assert await reasons(tenant, READER) == {reason.value}


async def test_a_refusal_follows_a_person_to_another_address_and_a_bounce_does_not(
    tenant: Tenant, suppression_readers: list[Consumer], worker: Worker, relay: MailRelay
) -> None:
    on_no_list = {SuppressionReason.ERASED, SuppressionReason.CANCELLED, SuppressionReason.FREQUENCY_CAP}
    for reason in set(SuppressionReason) - on_no_list:
        await refuse(tenant, READER, reason)
    event = pb.AddressChanged(
        contact_id=str(new_id()),
        old_email_digest=digest(READER),
        new_email_digest=digest("new@example.com"),
    )
    for _ in range(2):
        await tenant.hear(suppression_readers, event)
    assert await reasons(tenant, "new@example.com") == {"unsubscribe", "complaint"}
    await tenant.launch("new@example.com")
    await tenant.deliver(worker)
    assert relay.handed_over == {}


async def test_a_stream_that_breaks_is_taken_up_behind_the_last_committed_batch(
    tenant: Tenant, audience: Audience, fan_out: FanOut, database: Database
) -> None:
    people = [f"r{number}@example.com" for number in range(320)]
    draft = await tenant.draft(*people)
    await tenant(campaigns_pb2.LaunchCampaignRequest(campaign_id=draft.id))
    audience.breaks_after, audience.sent = 1, 0
    try:
        with pytest.raises(Unavailable):
            await fan_out.fan_out(tenant.context, UUID(draft.id))
        (campaign,) = await tenant.rows("SELECT id, audience FROM campaigns")
        assert campaign.audience == 200
        audience.breaks_after = None
        await tenant.rows("UPDATE campaigns SET lease_until = now()")
        await fan_out.fan_out(tenant.context, campaign.id)
    finally:
        audience.breaks_after = None
    rows = await tenant.rows("SELECT email FROM messages")
    assert sorted(row.email for row in rows) == sorted(people)
    assert (await tenant.report(str(campaign.id))).audience == 320


async def test_a_message_of_no_campaign_is_known_by_its_address(tenant: Tenant) -> None:
    message = await tenant.message(READER)
    await erase(tenant, READER)
    kept = await tenant(messages_pb2.GetMessageRequest(message_id=message.id))
    assert (kept.to, kept.status) == ("", messages_pb2.MESSAGE_STATUS_VETOED)
    assert kept.veto_reason == messages_pb2.SUPPRESSION_REASON_ERASED
    assert not (await tenant(suppressions_pb2.ListSuppressionsRequest())).suppressions
