"""Who must not get mail gets none, whichever moment they choose to say so."""

import asyncio
import random

import pytest

from chassis.database import Database, RoleDatabase
from chassis.errors import FailedPrecondition
from flownurture.sending.v1 import campaigns_pb2, messages_pb2
from flownurture.suppression.v1 import suppressions_pb2, unsubscribe_pb2
from flownurture.suppression.v1.events_pb2 import SendsApproved, SendsVetoed
from services.sending.delivery.worker import Worker
from services.sending.suppression.sweep import Sweep
from services.sending.tests.relay import MailRelay
from services.sending.tests.tenant import Tenant
from services.sending.unsubscribe_links import UnsubscribeLinks


def suppression_of(email: str) -> suppressions_pb2.CreateSuppressionRequest:
    return suppressions_pb2.CreateSuppressionRequest(
        email=email, reason=messages_pb2.SUPPRESSION_REASON_MANUAL
    )


async def opt_out(tenant: Tenant, links: UnsubscribeLinks, email: str) -> None:
    (row,) = await tenant.rows("SELECT id, email_digest FROM messages WHERE email = :email", email=email)
    url = links.url(tenant.context.organization, row.id, bytes(row.email_digest))
    await tenant(unsubscribe_pb2.UnsubscribeRequest(token=url.rpartition("/")[2]))


async def test_a_suppressed_contact_is_vetoed_with_the_reason_shown(
    tenant: Tenant, worker: Worker, relay: MailRelay, links: UnsubscribeLinks
) -> None:
    await tenant.launch("reader@example.com", "other@example.com")
    await tenant.deliver(worker)
    await opt_out(tenant, links, "reader@example.com")
    second = await tenant.launch("READER@example.com", "other@example.com")
    await tenant.deliver(worker)
    assert relay.handed_over == {"reader@example.com": 1, "other@example.com": 2}
    listed = await tenant(
        campaigns_pb2.ListCampaignMessagesRequest(
            campaign_id=second, status=messages_pb2.MESSAGE_STATUS_VETOED
        )
    )
    (vetoed,) = listed.messages
    assert vetoed.veto_reason == messages_pb2.SUPPRESSION_REASON_UNSUBSCRIBE
    (event,) = await tenant.published(SendsVetoed)
    assert [message.message_id for message in event.messages] == [vetoed.id]


async def test_an_opt_out_between_approval_and_claim_is_honoured(
    tenant: Tenant, worker: Worker, relay: MailRelay, links: UnsubscribeLinks
) -> None:
    campaign = await tenant.launch("reader@example.com")
    (batch,) = await tenant.approve()
    await opt_out(tenant, links, "reader@example.com")
    await worker.deliver(tenant.context, batch)
    assert relay.handed_over == {}
    assert (await tenant.report(campaign)).vetoed == 1
    assert len(await tenant.published(SendsVetoed)) == 1


async def test_a_single_message_to_a_suppressed_address_is_refused(tenant: Tenant) -> None:
    await tenant(suppression_of("reader@example.com"))
    with pytest.raises(FailedPrecondition) as refused:
        await tenant.message("Reader@Example.com")
    assert refused.value.reason == "SUPPRESSED"
    assert await tenant.statuses() == {}


async def test_a_decision_that_is_asked_for_again_is_not_made_again(tenant: Tenant) -> None:
    await tenant.launch("reader@example.com")
    for _ in range(3):
        await tenant.approve()
    assert len(await tenant.published(SendsApproved)) == 1


async def test_one_organizations_list_never_affects_anothers(
    tenant: Tenant, stranger: Tenant, worker: Worker, relay: MailRelay
) -> None:
    await stranger(suppression_of("reader@example.com"))
    await tenant.launch("reader@example.com")
    await tenant.deliver(worker)
    assert relay.handed_over == {"reader@example.com": 1}


@pytest.mark.parametrize("seed", range(12))
async def test_no_mail_is_handed_over_whose_claim_began_after_an_opt_out_was_acknowledged(
    tenant: Tenant, worker: Worker, relay: MailRelay, links: UnsubscribeLinks, seed: int
) -> None:
    dice = random.Random(seed)
    readers = [f"reader{number}@example.com" for number in range(80)]
    leaving = dice.sample(readers, 30)
    await tenant.launch(*readers)
    batches = await tenant.approve()

    async def leave(email: str) -> tuple[str, str]:
        await asyncio.sleep(dice.random() * 0.1)
        await opt_out(tenant, links, email)
        # Acknowledged. What is claimed is now claimed; nothing else of this address may be from here on.
        (row,) = await tenant.rows("SELECT status FROM messages WHERE email = :email", email=email)
        return email, row.status

    async with asyncio.TaskGroup() as group:
        for batch in batches:
            group.create_task(worker.deliver(tenant.context, batch))
        acknowledged = await asyncio.gather(*map(leave, leaving))
    for email, status in acknowledged:
        if status in ("approved", "vetoed"):
            assert email not in relay.seen
    assert max(relay.handed_over.values(), default=0) <= 1
    statuses = await tenant.statuses()
    assert set(statuses.values()) <= {"sent", "vetoed"}
    assert {email for email, status in statuses.items() if status == "sent"} == set(relay.seen)


async def test_a_batch_whose_order_never_came_is_decided_by_the_sweep(
    tenant: Tenant, database: Database, scheduler: RoleDatabase
) -> None:
    await tenant(suppression_of("out@example.com"))
    campaign = await tenant.launch("reader@example.com", "out@example.com")
    await tenant.release()
    await tenant.rows("UPDATE batches SET due_at = 'epoch'")
    await Sweep(database, scheduler).round()
    report = await tenant.report(campaign)
    assert (report.approved, report.vetoed, report.queued) == (1, 1, 0)
    assert len(await tenant.published(SendsApproved)) == 1


async def test_the_sweep_leaves_a_batch_alone_whose_order_is_young(
    tenant: Tenant, database: Database, scheduler: RoleDatabase
) -> None:
    campaign = await tenant.launch("reader@example.com")
    await Sweep(database, scheduler).round()
    assert (await tenant.report(campaign)).queued == 1
