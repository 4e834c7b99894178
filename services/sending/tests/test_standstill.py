"""Of an organization that is to be erased nothing goes out any more, until somebody of it says so again."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.exc import IntegrityError, ProgrammingError

from chassis.consumer import Consumer
from chassis.database import RoleDatabase
from chassis.erasure import Erasures
from chassis.identifiers import new_id
from chassis.secret import Secret
from flownurture.identity.v1.events_pb2 import (
    OrganizationErased,
    OrganizationErasureRequested,
    OrganizationErasureTakenBack,
)
from flownurture.sending.v1 import campaigns_pb2 as pb
from flownurture.sending.v1 import workflow_service_pb2 as workflows_pb
from services.sending.batches import BATCHES_TO_DELIVER
from services.sending.consumers import OrganizationsReader
from services.sending.delivery.claims import claim
from services.sending.delivery.recalls import Recalls
from services.sending.delivery.worker import Worker
from services.sending.tests.relay import MailRelay
from services.sending.tests.tenant import Tenant
from services.sending.tests.test_schedule import scheduled, status_of
from services.sending.tests.test_veto import opt_out
from services.sending.tests.test_workflow_moves import active
from services.sending.unsubscribe_links import UnsubscribeLinks
from services.sending.workflows.tests.drafts import JOINS, leave, trigger

# Of what there was something; that every table is gone through is the chassis' to prove.
TABLES = (
    "campaigns",
    "batches",
    "messages",
    "message_events",
    "suppressions",
    "suppression_list_versions",
    "decisions",
    "outbox",
    "inbox",
)


@pytest.fixture
async def reader(
    tenant: Tenant, scheduler: RoleDatabase, service_environment: Callable[[str], dict[str, str]]
) -> AsyncIterator[Consumer]:
    url = Secret(service_environment("sending")["DATABASE_ERASURE_URL"])
    async with RoleDatabase(url, pool_size=1) as noted:
        erasures = Erasures(tenant.database, scheduler, process="sending", noted=noted)
        yield OrganizationsReader(tenant.database, erasures).consumer(None)  # type: ignore[arg-type]


async def test_what_is_sent_and_every_workflow_is_paused_and_what_is_scheduled_is_a_draft(
    tenant: Tenant, reader: Consumer, worker: Worker, relay: MailRelay
) -> None:
    under_way, planned = await tenant.launch("one@example.com", "two@example.com"), await scheduled(tenant)
    await tenant.approve()
    running = await active(tenant, leave())
    draft = await tenant(
        workflows_pb.CreateWorkflowRequest(name="D", trigger=trigger(**JOINS), steps=[leave()])
    )
    # Events come twice.
    for _ in range(2):
        await tenant.hear([reader], OrganizationErasureRequested())
    assert await status_of(tenant, under_way) == pb.CAMPAIGN_STATUS_PAUSED
    assert await status_of(tenant, planned) == pb.CAMPAIGN_STATUS_DRAFT
    await tenant.deliver(worker)
    assert relay.handed_over == {}
    states = {
        workflow_id: (await tenant(workflows_pb.GetWorkflowRequest(workflow_id=workflow_id))).status
        for workflow_id in (running, draft.id)
    }
    assert states == {
        running: workflows_pb.WORKFLOW_STATUS_PAUSED,
        draft.id: workflows_pb.WORKFLOW_STATUS_DRAFT,
    }


async def test_a_single_message_that_was_accepted_waits_and_goes_when_the_erasure_is_taken_back(
    tenant: Tenant, reader: Consumer, scheduler: RoleDatabase, worker: Worker, relay: MailRelay
) -> None:
    await tenant.message("one@example.com")
    await tenant.approve()
    await tenant.rows("UPDATE batches SET due_at = now() RETURNING id")
    await tenant.hear([reader], OrganizationErasureRequested())
    await tenant.deliver(worker)
    assert relay.handed_over == {}
    assert not await has_something_to_deliver(tenant, scheduler)
    await tenant.hear([reader], OrganizationErasureTakenBack())
    assert await has_something_to_deliver(tenant, scheduler)
    await tenant.deliver(worker)
    assert relay.handed_over.keys() == {"one@example.com"}


async def test_what_is_in_hand_already_is_not_begun_any_more(tenant: Tenant, reader: Consumer) -> None:
    await tenant.message("one@example.com")
    batch_ids = await tenant.approve()
    async with tenant.database.tenant_transaction(tenant.context) as session:
        (message,) = (await claim(session, batch_ids, new_id())).messages
    recalls = Recalls(tenant.database)
    with recalls.watching(tenant.context, [message.campaign_id]):
        await recalls.round()
        assert not recalls.holds(tenant.context, message)
        await tenant.hear([reader], OrganizationErasureRequested())
        await recalls.round()
        assert recalls.holds(tenant.context, message)


async def test_what_is_launched_at_the_last_moment_waits_as_well(
    tenant: Tenant, reader: Consumer, worker: Worker, relay: MailRelay
) -> None:
    await tenant.hear([reader], OrganizationErasureRequested())
    # By a request that was let in before.
    await tenant.launch("one@example.com")
    await tenant.approve()
    await tenant.deliver(worker)
    assert relay.handed_over == {}


async def test_of_a_request_and_its_being_taken_back_the_latest_holds_in_whatever_order_they_come(
    tenant: Tenant, reader: Consumer
) -> None:
    campaign_id = await tenant.launch("one@example.com")
    asked = datetime.now(UTC)
    await tenant.hear([reader], OrganizationErasureTakenBack(), occurred_at=asked + timedelta(minutes=5))
    await tenant.hear([reader], OrganizationErasureRequested(), occurred_at=asked)
    assert await status_of(tenant, campaign_id) == pb.CAMPAIGN_STATUS_SENDING
    assert await tenant.rows("SELECT stands_still FROM standstills") == [(False,)]


async def has_something_to_deliver(tenant: Tenant, scheduler: RoleDatabase) -> bool:
    """Whether the sweep would find a batch of it."""
    async with scheduler.transaction() as connection:
        due = await connection.execute(BATCHES_TO_DELIVER)
        return tenant.context.organization in {row.organization_id for row in due}


async def test_all_that_was_sent_and_who_opted_out_of_it_is_gone_with_its_organization_and_not_before(
    tenant: Tenant, reader: Consumer, worker: Worker, links: UnsubscribeLinks
) -> None:
    await tenant.launch("one@example.com", "two@example.com")
    await tenant.deliver(worker)
    await opt_out(tenant, links, "one@example.com")
    with pytest.raises(IntegrityError, match="only the recipient lifts an opt-out"):
        await tenant.rows("DELETE FROM suppressions RETURNING id")
    await tenant.hear([reader], OrganizationErased())
    for table in TABLES:
        assert await tenant.rows(f"SELECT FROM {table}") == [], table


async def test_whoever_works_with_the_list_cannot_say_that_an_organization_is_erased(tenant: Tenant) -> None:
    with pytest.raises(ProgrammingError, match="permission denied"):
        await tenant.rows("INSERT INTO erasures DEFAULT VALUES RETURNING organization_id")
