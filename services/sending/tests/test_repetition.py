"""What is in doubt is sent again at its sender's word, and at nothing else."""

import pytest

from chassis.database import Database, RoleDatabase
from chassis.errors import Conflict, NotFound
from flownurture.sending.v1 import campaigns_pb2 as pb
from flownurture.sending.v1 import messages_pb2
from flownurture.suppression.v1 import suppressions_pb2
from services.sending.completion import Completion
from services.sending.delivery.worker import Worker
from services.sending.tests.relay import MailRelay
from services.sending.tests.rounds import complete_all
from services.sending.tests.tenant import Tenant

READERS = [f"reader{number:02}@example.com" for number in range(60)]
LOST = READERS[5], READERS[55]


@pytest.fixture
def completion(database: Database, scheduler: RoleDatabase) -> Completion:
    return Completion(database, scheduler)


async def sent_with_doubts(tenant: Tenant, worker: Worker, relay: MailRelay, completion: Completion) -> str:
    """A completed campaign of which two messages were on connections that broke."""

    async def breaks_for_some(recipient: str) -> str | None:
        return None if recipient in LOST else "250 OK"

    accepts, relay.on_message = relay.on_message, breaks_for_some
    campaign = await tenant.launch(*READERS)
    await tenant.deliver(worker)
    relay.on_message = accepts
    await complete_all(completion)
    report = await tenant.report(campaign)
    assert (report.status, report.sent, report.indeterminate) == (pb.CAMPAIGN_STATUS_COMPLETED, 58, 2)
    return campaign


async def test_what_is_in_doubt_goes_again_once_however_often_it_is_asked(
    tenant: Tenant, worker: Worker, relay: MailRelay, completion: Completion
) -> None:
    campaign = await sent_with_doubts(tenant, worker, relay, completion)
    request = pb.RetryIndeterminateRequest(campaign_id=campaign)
    again = await tenant(request)
    assert again.status == pb.CAMPAIGN_STATUS_SENDING
    assert await tenant(request) == again
    report = await tenant.report(campaign)
    assert (report.audience, report.released, report.sent, report.queued) == (60, 58, 58, 2)

    await tenant.deliver(worker)
    await complete_all(completion)
    ended = await tenant.report(campaign)
    assert (ended.status, ended.sent, ended.indeterminate) == (pb.CAMPAIGN_STATUS_COMPLETED, 60, 0)
    # The relay had seen them when it broke the connection.
    assert sorted(relay.seen) == sorted([*READERS, *LOST])
    (doubted,) = await tenant.rows("SELECT id FROM messages WHERE email = :email", email=LOST[0])
    told = await tenant(messages_pb2.GetMessageRequest(message_id=str(doubted.id)))
    assert [event.status for event in told.events] == [
        messages_pb2.MESSAGE_STATUS_QUEUED,
        messages_pb2.MESSAGE_STATUS_INDETERMINATE,
        messages_pb2.MESSAGE_STATUS_APPROVED,
        messages_pb2.MESSAGE_STATUS_SENT,
    ]
    assert (await tenant(request)).status == pb.CAMPAIGN_STATUS_COMPLETED
    (usage,) = await tenant.rows("SELECT emails FROM email_usage")
    assert usage.emails == 60


async def test_the_veto_decides_anew(
    tenant: Tenant, worker: Worker, relay: MailRelay, completion: Completion
) -> None:
    campaign = await sent_with_doubts(tenant, worker, relay, completion)
    await tenant(
        suppressions_pb2.CreateSuppressionRequest(
            email=LOST[0], reason=messages_pb2.SUPPRESSION_REASON_MANUAL
        )
    )
    await tenant(pb.RetryIndeterminateRequest(campaign_id=campaign))
    await tenant.deliver(worker)
    report = await tenant.report(campaign)
    assert (report.sent, report.vetoed, report.indeterminate) == (59, 1, 0)


async def test_only_what_was_sent_is_sent_again(tenant: Tenant, stranger: Tenant) -> None:
    draft = await tenant.draft("reader@example.com")
    request = pb.RetryIndeterminateRequest(campaign_id=draft.id)
    with pytest.raises(Conflict, match="draft"):
        await tenant(request)
    with pytest.raises(NotFound):
        await stranger(request)
    await tenant(pb.LaunchCampaignRequest(campaign_id=draft.id))
    assert (await tenant(request)).status == pb.CAMPAIGN_STATUS_SENDING
    await tenant(pb.CancelCampaignRequest(campaign_id=draft.id))
    with pytest.raises(Conflict, match="cancelled"):
        await tenant(request)
