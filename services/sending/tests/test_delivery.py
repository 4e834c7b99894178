"""What delivery does with each answer of the relay, and with none."""

import asyncio
from email import message_from_bytes, policy

import pytest

from chassis.errors import Unavailable
from flownurture.delivery.v1.events_pb2 import MessagesSettled
from flownurture.sending.v1 import messages_pb2
from flownurture.suppression.v1 import suppressions_pb2
from services.sending.delivery.sweep import Sweep
from services.sending.delivery.worker import Worker
from services.sending.statuses import MessageStatus
from services.sending.tests.post import Post
from services.sending.tests.relay import MailRelay
from services.sending.tests.tenant import Tenant


def everybody(count: int) -> list[str]:
    return [f"reader{number}@example.com" for number in range(count)]


async def test_everybody_gets_one_mail(tenant: Tenant, worker: Worker, relay: MailRelay) -> None:
    campaign = await tenant.launch(*everybody(120))
    await tenant.deliver(worker)
    assert relay.handed_over == dict.fromkeys(everybody(120), 1)
    report = await tenant.report(campaign)
    assert (report.audience, report.sent, report.audience_complete) == (120, 120, True)


async def test_an_order_that_comes_twice_is_carried_out_once(
    tenant: Tenant, worker: Worker, relay: MailRelay
) -> None:
    await tenant.launch(*everybody(30))
    (batch,) = await tenant.approve()
    await asyncio.gather(*(worker.deliver(tenant.context, batch) for _ in range(4)))
    await tenant.approve()
    await worker.deliver(tenant.context, batch)
    assert relay.handed_over == dict.fromkeys(everybody(30), 1)


async def test_an_address_that_does_not_exist_is_suppressed_at_its_first_bounce(
    tenant: Tenant, worker: Worker, relay: MailRelay
) -> None:
    async def refuses(recipient: str) -> str:
        return "550 5.1.1 no such user" if recipient.startswith("bad") else "250 OK"

    relay.on_recipient = refuses
    await tenant.launch("bad@example.com", "good@example.com")
    await tenant.deliver(worker)
    assert await tenant.statuses() == {"bad@example.com": "bounced", "good@example.com": "sent"}
    (entry,) = (await tenant(suppressions_pb2.ListSuppressionsRequest())).suppressions
    assert (entry.email, entry.reason) == ("bad@example.com", messages_pb2.SUPPRESSION_REASON_HARD_BOUNCE)
    second = await tenant.launch("bad@example.com", "good@example.com")
    await tenant.deliver(worker)
    assert relay.handed_over == {"good@example.com": 2}
    assert (await tenant.report(second)).vetoed == 1


async def test_a_refusal_by_policy_suppresses_nobody(
    tenant: Tenant, worker: Worker, relay: MailRelay
) -> None:
    async def refuses(_: str) -> str:
        return "550 5.7.1 blocked"

    relay.on_message = refuses
    await tenant.launch("reader@example.com")
    await tenant.deliver(worker)
    assert await tenant.statuses() == {"reader@example.com": "bounced"}
    assert not (await tenant(suppressions_pb2.ListSuppressionsRequest())).suppressions


async def test_a_deferred_message_is_sent_when_it_is_due_and_not_before(
    tenant: Tenant, worker: Worker, relay: MailRelay
) -> None:
    async def later(_: str) -> str:
        return "451 4.2.2 later"

    relay.on_recipient = later
    message = await tenant.message("reader@example.com")
    await tenant.deliver(worker)
    relay.on_recipient = relay.on_message
    await tenant.deliver(worker)
    assert await tenant.statuses() == {"reader@example.com": "deferred"}
    await tenant.rows("UPDATE messages SET next_attempt_at = now()")
    await tenant.deliver(worker)
    assert relay.handed_over == {"reader@example.com": 1}
    found = await tenant(messages_pb2.GetMessageRequest(message_id=message.id))
    assert [event.status for event in found.events] == [
        messages_pb2.MESSAGE_STATUS_QUEUED,
        messages_pb2.MESSAGE_STATUS_APPROVED,
        messages_pb2.MESSAGE_STATUS_DEFERRED,
        messages_pb2.MESSAGE_STATUS_SENT,
    ]


async def test_a_message_deferred_for_a_day_fails(tenant: Tenant, worker: Worker, relay: MailRelay) -> None:
    async def later(_: str) -> str:
        return "451 4.2.2 later"

    relay.on_recipient = later
    await tenant.message("reader@example.com")
    for _ in range(9):
        await tenant.deliver(worker)
        await tenant.rows("UPDATE messages SET next_attempt_at = now() WHERE status = 'deferred'")
    assert await tenant.statuses() == {"reader@example.com": "failed"}


async def test_who_opts_out_while_deferred_is_not_sent_to(
    tenant: Tenant, worker: Worker, relay: MailRelay
) -> None:
    async def later(_: str) -> str:
        return "451 4.2.2 later"

    relay.on_recipient = later
    await tenant.launch("reader@example.com")
    await tenant.deliver(worker)
    relay.on_recipient = relay.on_message
    await suppress(tenant, "reader@example.com")
    await tenant.rows("UPDATE messages SET next_attempt_at = now()")
    await tenant.deliver(worker)
    assert relay.handed_over == {}
    assert await tenant.statuses() == {"reader@example.com": "vetoed"}


async def test_a_connection_that_breaks_before_the_message_loses_and_repeats_nothing(
    tenant: Tenant, worker: Worker, relay: MailRelay
) -> None:
    broken = set()

    async def breaks_once(recipient: str) -> str | None:
        if recipient in broken or not recipient.endswith("5@example.com"):
            return "250 OK"
        broken.add(recipient)
        return None

    relay.on_recipient = breaks_once
    await tenant.launch(*everybody(40))
    for _ in range(10):
        try:
            await tenant.deliver(worker)
        except Unavailable:
            continue
        break
    assert broken
    assert relay.handed_over == dict.fromkeys(everybody(40), 1)
    assert await tenant.count(MessageStatus.SENT) == 40


async def test_what_was_sent_without_an_answer_is_in_doubt_and_a_campaign_never_repeats_it(
    tenant: Tenant, worker: Worker, relay: MailRelay
) -> None:
    async def breaks(recipient: str) -> str | None:
        return None if recipient.endswith("7@example.com") else "250 OK"

    relay.on_message = breaks
    campaign = await tenant.launch(*everybody(40))
    for _ in range(10):
        try:
            await tenant.deliver(worker)
        except Unavailable:
            continue
        break
    assert relay.handed_over == dict.fromkeys(everybody(40), 1)
    report = await tenant.report(campaign)
    assert (report.sent, report.indeterminate, report.approved) == (36, 4, 0)


async def test_a_single_message_in_doubt_is_sent_again_with_the_same_message_id(
    tenant: Tenant, worker: Worker, relay: MailRelay
) -> None:
    async def breaks(_: str) -> None:
        return None

    accepts, relay.on_message = relay.on_message, breaks
    message = await tenant.message("reader@example.com")
    with pytest.raises(Unavailable):
        await tenant.deliver(worker)
    relay.on_message = accepts
    await tenant.rows("UPDATE messages SET next_attempt_at = now()")
    await tenant.deliver(worker)
    mail = message_from_bytes(relay.mail_to("reader@example.com"), policy=policy.default)
    assert mail["Message-ID"] == f"<{message.id}@mail.test>"
    assert relay.handed_over == {"reader@example.com": 2}


async def test_a_relay_that_does_not_answer_loses_nothing(
    tenant: Tenant, worker: Worker, relay: MailRelay
) -> None:
    await tenant.launch(*everybody(20))
    (batch,) = await tenant.approve()
    relay._server.close()
    with pytest.raises(Unavailable):
        await worker.deliver(tenant.context, batch)
    assert await tenant.count(MessageStatus.QUEUED) == 20
    (row,) = await tenant.rows("SELECT due_at > now() AS waits FROM batches")
    assert row.waits
    # For the sweeps of other tests.
    await tenant.rows("UPDATE batches SET due_at = now() + interval '1 day'")


async def test_what_a_dead_process_held_is_in_doubt_for_a_campaign_and_again_for_a_single_message(
    tenant: Tenant, worker: Worker, relay: MailRelay, scheduler_sweep: Sweep
) -> None:
    await tenant.launch("reader@example.com")
    await tenant.message("customer@example.com")
    await tenant.approve()
    await tenant.rows("UPDATE batches SET lease_token = uuidv7(), leased_at = now()")
    await scheduler_sweep.dead.round()
    assert await tenant.statuses() == {
        "reader@example.com": "indeterminate",
        "customer@example.com": "queued",
    }
    await tenant.deliver(worker)
    assert relay.handed_over == {"customer@example.com": 1}
    (settled, _) = await tenant.published(MessagesSettled)
    assert [outcome.status for outcome in settled.outcomes] == [messages_pb2.MESSAGE_STATUS_INDETERMINATE]


async def test_a_result_that_comes_after_the_lease_was_settled_changes_nothing(
    tenant: Tenant, worker: Worker, relay: MailRelay
) -> None:
    async def settled_meanwhile(_: str) -> str:
        await tenant.rows("UPDATE messages SET status = 'indeterminate'")
        await tenant.rows("UPDATE batches SET lease_token = NULL, leased_at = NULL")
        return "250 OK"

    relay.on_message = settled_meanwhile
    await tenant.launch("reader@example.com")
    await tenant.deliver(worker)
    assert await tenant.statuses() == {"reader@example.com": "indeterminate"}


async def test_a_batch_whose_order_was_lost_is_found(
    tenant: Tenant, relay: MailRelay, scheduler_sweep: Sweep
) -> None:
    await tenant.launch("lost@example.com")
    await tenant.approve()
    await tenant.rows("UPDATE batches SET due_at = 'epoch'")
    await scheduler_sweep.due.round()
    assert relay.handed_over["lost@example.com"] == 1
    assert [row.status for row in await tenant.rows("SELECT status FROM batches")] == ["settled"]


async def suppress(tenant: Tenant, email: str) -> None:
    await tenant(
        suppressions_pb2.CreateSuppressionRequest(email=email, reason=messages_pb2.SUPPRESSION_REASON_MANUAL)
    )


async def test_who_opts_out_while_their_message_waits_its_turn_is_not_begun_with(
    tenant: Tenant, post: Post, relay: MailRelay
) -> None:
    last = "reader44@example.com"
    leaving: list[asyncio.Task[None]] = []

    async def leave() -> None:
        await suppress(tenant, last)
        await post.recalls.round()

    async def answers_once_they_have_left(_: str) -> str:
        if not leaving:
            leaving.append(asyncio.create_task(leave()))
        await asyncio.shield(leaving[0])
        return "250 OK"

    relay.on_message = answers_once_they_have_left
    await tenant.launch(*everybody(45))
    await tenant.deliver(post.worker)
    assert last not in relay.handed_over
    assert (await tenant.statuses())[last] == "queued"
    await tenant.deliver(post.worker)
    assert relay.handed_over == dict.fromkeys(everybody(44), 1)
    assert (await tenant.statuses())[last] == "vetoed"


async def test_a_claim_whose_commit_was_not_heard_of_is_given_back(
    tenant: Tenant, post: Post, relay: MailRelay, scheduler_sweep: Sweep
) -> None:
    await tenant.launch("reader@example.com")
    (batch,) = await tenant.approve()
    token = str(post.lease.token)
    await tenant.rows("UPDATE batches SET lease_token = CAST(:token AS uuid), leased_at = now()", token=token)
    await post.worker.deliver(tenant.context, batch)
    assert relay.handed_over == {}
    with post.lease.in_hand([batch]):
        await scheduler_sweep.give_back_lost()
    await post.worker.deliver(tenant.context, batch)
    assert relay.handed_over == {}
    await scheduler_sweep.give_back_lost()
    await post.worker.deliver(tenant.context, batch)
    assert relay.handed_over == {"reader@example.com": 1}
