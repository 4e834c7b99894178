"""What is found of an address once may pass; found again and again, with nothing delivered in between, it ends the mail to it."""

from datetime import timedelta

import pytest

from chassis.consumer import Consumer
from flownurture.delivery.v1.events_pb2 import MessagesSettled
from flownurture.sending.v1 import messages_pb2
from flownurture.suppression.v1 import suppressions_pb2 as pb
from flownurture.suppression.v1.events_pb2 import AddressesSuppressed
from services.sending import suppression_policy
from services.sending.bounces import Kind
from services.sending.delivery.settings import DeliverySettings
from services.sending.delivery.worker import Worker
from services.sending.feedback.intake import Intake
from services.sending.tests.post import PostOffice
from services.sending.tests.relay import MailRelay
from services.sending.tests.tenant import Tenant
from services.sending.tests.test_feedback import Recipient

READER = "reader@example.com"
FULL = "552 5.2.2 mailbox full"


async def refused(tenant: Tenant, worker: Worker, relay: MailRelay, *, as_campaign: bool = True) -> None:
    """One more mail to the reader, whose mailbox is full."""

    async def is_full(_: str) -> str:
        return FULL

    accepts, relay.on_recipient = relay.on_recipient, is_full
    await send(tenant, worker, as_campaign=as_campaign)
    relay.on_recipient = accepts


async def send(tenant: Tenant, worker: Worker, *, as_campaign: bool = True) -> None:
    if as_campaign:
        await tenant.launch(READER)
    else:
        await tenant.message(READER)
    await tenant.deliver(worker)


async def suppressed(tenant: Tenant) -> list[int]:
    return [entry.reason for entry in (await tenant(pb.ListSuppressionsRequest())).suppressions]


@pytest.mark.parametrize("as_campaign", [True, False])
async def test_the_fifth_soft_bounce_within_a_week_suppresses(
    tenant: Tenant, worker: Worker, relay: MailRelay, as_campaign: bool
) -> None:
    for _ in range(4):
        await refused(tenant, worker, relay, as_campaign=as_campaign)
    assert not await suppressed(tenant)
    await refused(tenant, worker, relay, as_campaign=as_campaign)
    assert await suppressed(tenant) == [messages_pb2.SUPPRESSION_REASON_HARD_BOUNCE]
    await tenant.launch(READER)
    await tenant.approve()
    assert list((await tenant.rows("SELECT status FROM messages ORDER BY id"))[-1]) == ["vetoed"]


@pytest.mark.parametrize("as_campaign", [True, False])
async def test_what_is_delivered_in_between_begins_the_count_anew(
    tenant: Tenant, worker: Worker, relay: MailRelay, as_campaign: bool
) -> None:
    for _ in range(4):
        await refused(tenant, worker, relay, as_campaign=as_campaign)
    await send(tenant, worker, as_campaign=as_campaign)
    for _ in range(4):
        await refused(tenant, worker, relay, as_campaign=as_campaign)
    assert not await suppressed(tenant)
    await refused(tenant, worker, relay, as_campaign=as_campaign)
    assert await suppressed(tenant)


async def given_up(tenant: Tenant, post_office: PostOffice, relay: MailRelay) -> None:
    """One more mail to the reader, whose mailbox has taken none for a day."""

    async def later(_: str) -> str:
        return "451 4.2.2 later"

    accepts, relay.on_recipient = relay.on_recipient, later
    await tenant.message(READER)
    await tenant.rows("UPDATE messages SET attempts = 8 WHERE status = 'queued'")
    # By a process whose lanes know of no refusal yet.
    async with post_office.open(relay) as post:
        await tenant.deliver(post.worker)
    relay.on_recipient = accepts


async def test_what_is_given_up_after_temporary_refusals_counts_once_as_a_soft_bounce(
    tenant: Tenant, post_office: PostOffice, relay: MailRelay, suppression_readers: list[Consumer]
) -> None:
    for _ in range(4):
        await given_up(tenant, post_office, relay)
    assert not await suppressed(tenant)
    # Mail that gets through begins the count anew.
    async with post_office.open(relay) as post:
        await send(tenant, post.worker, as_campaign=False)
    for _ in range(4):
        await given_up(tenant, post_office, relay)
    assert not await suppressed(tenant)
    await given_up(tenant, post_office, relay)
    assert await suppressed(tenant) == [messages_pb2.SUPPRESSION_REASON_HARD_BOUNCE]
    found = await tenant.rows("SELECT kind, rule, source, count(*) FROM feedback_findings GROUP BY 1, 2, 3")
    assert [tuple(row) for row in found] == [("soft", "full", "smtp", 9)]
    *_, last = await tenant.published(MessagesSettled)
    await tenant.hear(suppression_readers, last)
    (told,) = await tenant.published(AddressesSuppressed)
    assert [address.message_id for address in told.addresses] == [last.outcomes[0].message_id]


async def test_what_is_older_than_a_week_counts_no_more(
    tenant: Tenant, worker: Worker, relay: MailRelay
) -> None:
    for _ in range(4):
        await refused(tenant, worker, relay)
    await tenant.rows("UPDATE feedback_findings SET occurred_at = now() - :age", age=timedelta(days=7))
    for _ in range(4):
        await refused(tenant, worker, relay)
    assert not await suppressed(tenant)


async def test_mail_that_comes_back_counts_as_what_is_refused(
    tenant: Tenant, worker: Worker, relay: MailRelay, intake: Intake, settings: DeliverySettings
) -> None:
    for _ in range(4):
        await refused(tenant, worker, relay)
    await send(tenant, worker)
    (message,) = await tenant.rows("SELECT id FROM messages WHERE status = 'sent'")
    await Recipient(tenant, intake, settings, message.id).report("gmail_over_quota")
    assert await suppressed(tenant) == [messages_pb2.SUPPRESSION_REASON_HARD_BOUNCE]


async def test_one_persons_bounces_never_suppress_another(
    tenant: Tenant, stranger: Tenant, worker: Worker, relay: MailRelay
) -> None:
    for sender in (tenant, stranger):
        for _ in range(4):
            await refused(sender, worker, relay)
    assert not await suppressed(tenant)
    assert not await suppressed(stranger)


async def test_complaints_suppress_at_as_many_as_the_policy_says(
    tenant: Tenant,
    worker: Worker,
    intake: Intake,
    settings: DeliverySettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rules = suppression_policy.rules()
    often = rules | {Kind.COMPLAINT: rules[Kind.COMPLAINT].model_copy(update={"count": 2})}
    monkeypatch.setattr(suppression_policy, "rules", lambda: often)
    for expected in ([], [messages_pb2.SUPPRESSION_REASON_COMPLAINT]):
        await send(tenant, worker)
        *_, message = await tenant.rows("SELECT id FROM messages WHERE status = 'sent' ORDER BY id")
        await Recipient(tenant, intake, settings, message.id).report("arf_rfc5965")
        assert await suppressed(tenant) == expected
