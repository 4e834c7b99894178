"""Of an organization that is to be erased nothing goes out any more, until somebody of it says so again."""

from collections.abc import AsyncIterator, Callable

import pytest
from sqlalchemy.exc import IntegrityError, ProgrammingError

from chassis.consumer import Consumer
from chassis.database import RoleDatabase
from chassis.erasure import Erasures
from chassis.secret import Secret
from flownurture.identity.v1.events_pb2 import OrganizationErased, OrganizationErasureRequested
from flownurture.sending.v1 import campaigns_pb2 as pb
from flownurture.sending.v1 import workflow_service_pb2 as workflows_pb
from services.sending.consumers import OrganizationsReader
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
