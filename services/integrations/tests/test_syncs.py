"""Syncs as organizations ask for them and look at them."""

import asyncio
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from chassis.errors import Conflict, DomainError, NotFound
from chassis.identifiers import new_id
from flownurture.integrations.v1 import syncs_pb2 as pb
from services.integrations.connections import ask_for_authorization
from services.integrations.crm.errors import (
    Broken,
    CrmError,
    Forbidden,
    RateLimited,
    Rejected,
    Unauthorized,
)
from services.integrations.sync import syncs
from services.integrations.sync.settling import Busy, Problem
from services.integrations.sync.syncs import MOST_PROBLEMS, Lease
from services.integrations.sync.verdicts import MOST_ATTEMPTS, BelowPlan, Failed, Wait, verdict
from services.integrations.tests.house import House, Tenant


@pytest.fixture
def tenant(integrations: House) -> Tenant:
    return integrations.tenant()


async def claimed(tenant: Tenant, sync_id: str) -> Lease:
    async with tenant.house.database.tenant_transaction(tenant.context) as session:
        found = await syncs.claim(session, UUID(sync_id))
    assert found is not None
    return found[0]


async def finish(tenant: Tenant, sync_id: str) -> None:
    lease = await claimed(tenant, sync_id)
    async with tenant.house.database.tenant_transaction(tenant.context) as session:
        await syncs.fence(session, lease)
        await syncs.finish(session, lease)


async def test_whoever_asks_twice_is_answered_with_one_sync(tenant: Tenant) -> None:
    connection = await tenant.connect("hubspot")
    request = pb.StartSyncRequest(connection_id=connection.id)
    first, second = await asyncio.gather(tenant(request), tenant.key()(request))
    assert first == second
    assert (first.status, first.trigger) == (pb.SYNC_STATUS_PENDING, pb.SYNC_TRIGGER_REQUEST)
    assert tenant.house.wake.is_set()
    (row,) = await tenant.rows("SELECT due_at = 'infinity' AS waits FROM sync_positions")
    assert row.waits
    await finish(tenant, first.id)
    assert (await tenant(request)).id != first.id


async def test_syncs_are_listed_newest_first_and_tell_how_they_stand(tenant: Tenant) -> None:
    connection = await tenant.connect("hubspot")
    made = []
    for _ in range(3):
        made.append((await tenant(pb.StartSyncRequest(connection_id=connection.id))).id)
        await finish(tenant, made[-1])
    seen, token = [], ""
    while True:
        page = await tenant(pb.ListSyncsRequest(connection_id=connection.id, page_size=2, page_token=token))
        seen += [each.id for each in page.syncs]
        if not (token := page.next_page_token):
            break
    assert seen == made[::-1]
    found = await tenant(pb.GetSyncRequest(connection_id=connection.id, sync_id=made[0]))
    assert found.status == pb.SYNC_STATUS_COMPLETED
    assert found.HasField("finished_at")
    assert not found.HasField("waiting_until")


async def test_a_sync_that_waits_tells_until_when_and_for_what(tenant: Tenant) -> None:
    connection = await tenant.connect("hubspot")
    sync = await tenant(pb.StartSyncRequest(connection_id=connection.id))
    lease = await claimed(tenant, sync.id)
    async with tenant.house.database.tenant_transaction(tenant.context) as session:
        await syncs.fence(session, lease)
        await syncs.wait(session, lease, timedelta(minutes=5), "The CRM asks to be called more slowly.")
    found = await tenant(pb.GetSyncRequest(connection_id=connection.id, sync_id=sync.id))
    assert found.status == pb.SYNC_STATUS_WAITING
    assert found.error == "The CRM asks to be called more slowly."
    assert found.waiting_until.ToDatetime() > found.created_at.ToDatetime() + timedelta(minutes=4)


async def test_problems_are_listed_in_their_order_as_many_as_are_kept(tenant: Tenant) -> None:
    connection = await tenant.connect("hubspot")
    sync = await tenant(pb.StartSyncRequest(connection_id=connection.id))
    lease, contact_id = await claimed(tenant, sync.id), new_id()
    problems = [Problem(contact_id, str(place), "It has no name.") for place in range(MOST_PROBLEMS + 5)]
    async with tenant.house.database.tenant_transaction(tenant.context) as session:
        await syncs.fence(session, lease)
        await syncs.add_problems(session, lease, problems)
    seen, token = [], ""
    while True:
        request = pb.ListSyncProblemsRequest(
            connection_id=connection.id, sync_id=sync.id, page_size=500, page_token=token
        )
        page = await tenant(request)
        seen += [(each.contact_id, each.record_id, each.message) for each in page.problems]
        if not (token := page.next_page_token):
            break
    assert seen == [(str(contact_id), str(place), "It has no name.") for place in range(MOST_PROBLEMS)]
    found = await tenant(pb.GetSyncRequest(connection_id=connection.id, sync_id=sync.id))
    assert found.counts.problems == MOST_PROBLEMS + 5


async def test_a_connection_whose_credentials_are_refused_is_not_synced(tenant: Tenant) -> None:
    connection = await tenant.connect("hubspot")
    async with tenant.house.database.tenant_transaction(tenant.context) as session:
        await ask_for_authorization(session, UUID(connection.id), "It is refused.")
    with pytest.raises(DomainError) as refused:
        await tenant(pb.StartSyncRequest(connection_id=connection.id))
    assert isinstance(refused.value, Conflict)


async def test_another_organization_sees_and_begins_nothing(tenant: Tenant, integrations: House) -> None:
    connection = await tenant.connect("hubspot")
    sync = await tenant(pb.StartSyncRequest(connection_id=connection.id))
    stranger = integrations.tenant()
    own = await stranger.connect("salesforce")
    for request in (
        pb.StartSyncRequest(connection_id=connection.id),
        pb.ListSyncsRequest(connection_id=connection.id),
        pb.GetSyncRequest(connection_id=connection.id, sync_id=sync.id),
        pb.GetSyncRequest(connection_id=own.id, sync_id=sync.id),
        pb.ListSyncProblemsRequest(connection_id=own.id, sync_id=sync.id),
        pb.GetSyncRequest(connection_id=own.id, sync_id=str(uuid4())),
    ):
        with pytest.raises(DomainError) as refused:
            await stranger(request)
        assert isinstance(refused.value, NotFound)


@pytest.mark.parametrize(
    "error",
    [Forbidden("X"), Rejected("X"), CrmError("No."), Conflict("Not set up."), RuntimeError("a@b.example")],
    ids=lambda error: type(error).__name__,
)
def test_what_cannot_be_mended_by_waiting_ends_a_sync(error: Exception) -> None:
    judged = verdict(error, 1)
    assert isinstance(judged, Failed)
    assert judged.why
    assert "@" not in judged.why
    assert not judged.refused


def test_a_refused_credential_ends_every_sync() -> None:
    assert verdict(Unauthorized(), 1) == Failed(str(Unauthorized()), refused=True)


@pytest.mark.parametrize("error", [Broken("Away."), Busy()], ids=["broken", "busy"])
def test_what_may_do_later_is_tried_again_after_longer_each_time_and_not_for_ever(error: Exception) -> None:
    judged = [verdict(error, attempts) for attempts in range(MOST_ATTEMPTS + 1)]
    pauses = [each.pause for each in judged if isinstance(each, Wait) and each.counts]
    assert len(pauses) == MOST_ATTEMPTS
    assert pauses == sorted(pauses)
    assert isinstance(judged[-1], Failed)


@pytest.mark.parametrize(
    ("error", "least", "most"),
    [
        pytest.param(RateLimited(30), 30, 34, id="a wait that is asked for"),
        pytest.param(RateLimited(0), 1, 2, id="none"),
        pytest.param(RateLimited(1e300), 86_400, 100_000, id="for ever"),
        pytest.param(BelowPlan(), 200, 300, id="below the plan"),
    ],
)
def test_who_says_when_is_asked_again_then(error: Exception, least: float, most: float) -> None:
    judged = verdict(error, MOST_ATTEMPTS)
    assert isinstance(judged, Wait)
    assert least <= judged.pause.total_seconds() <= most
    assert not judged.counts
