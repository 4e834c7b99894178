"""Replays: what a range of time holds is sent once more, piece by piece, by whoever gets to it first."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from chassis.database import Database, RoleDatabase
from chassis.errors import Conflict, InvalidRequest, NotFound
from flownurture.webhooks.v1 import deliveries_pb2
from flownurture.webhooks.v1 import replays_pb2 as pb
from flownurture.webhooks.v1.endpoints_pb2 import UpdateWebhookEndpointRequest
from services.webhooks import replays
from services.webhooks.api.tests.tenant import Tenant, Woken
from services.webhooks.replay_runner import ReplayRunner

HOUR = timedelta(hours=1)


@pytest.fixture
def runner(database: Database, scheduler: RoleDatabase, woken: Woken) -> ReplayRunner:
    return ReplayRunner(database, scheduler, woken)


def at(moment: datetime) -> Timestamp:
    message = Timestamp()
    message.FromDatetime(moment)
    return message


async def begin(tenant: Tenant, endpoint_id: str, **how: Any) -> pb.WebhookReplay:
    asked = {"since": at(datetime.now(UTC) - HOUR)} | how
    answer: pb.WebhookReplay = await tenant(pb.CreateWebhookReplayRequest(endpoint_id=endpoint_id, **asked))
    return answer


async def finished(tenant: Tenant, runner: ReplayRunner, replay: pb.WebhookReplay) -> pb.WebhookReplay:
    await runner.carry_out(tenant.context, UUID(replay.id))
    answer: pb.WebhookReplay = await tenant(pb.GetWebhookReplayRequest(replay_id=replay.id))
    assert answer.status == pb.WEBHOOK_REPLAY_STATUS_COMPLETED
    return answer


async def pending(tenant: Tenant, endpoint_id: str) -> set[str]:
    page = await tenant(
        deliveries_pb2.ListWebhookDeliveriesRequest(
            endpoint_id=endpoint_id,
            status=deliveries_pb2.WEBHOOK_DELIVERY_STATUS_PENDING,
            page_size=500,
        )
    )
    return {delivery.id for delivery in page.deliveries}


@pytest.mark.parametrize(
    ("chosen", "statuses"),
    [
        (pb.WEBHOOK_REPLAY_DELIVERIES_UNSPECIFIED, {"failed", "cancelled"}),
        (pb.WEBHOOK_REPLAY_DELIVERIES_FAILED, {"failed", "cancelled"}),
        (pb.WEBHOOK_REPLAY_DELIVERIES_DELIVERED, {"delivered"}),
        (pb.WEBHOOK_REPLAY_DELIVERIES_ANY, {"delivered", "failed", "cancelled"}),
    ],
)
async def test_a_replay_begins_what_was_chosen(
    tenant: Tenant, runner: ReplayRunner, chosen: Any, statuses: set[str]
) -> None:
    endpoint, other = await tenant.add(), await tenant.add()
    made = {
        status: await tenant.delivered(endpoint.id, status, 2)
        for status in ("delivered", "failed", "cancelled")
    }
    await tenant.delivered(other.id, "failed")
    replay = await finished(tenant, runner, await begin(tenant, endpoint.id, deliveries=chosen))
    expected = {each for status in statuses for each in made[status]}
    assert await pending(tenant, endpoint.id) == expected
    assert replay.replayed_count == len(expected)
    assert await pending(tenant, other.id) == set()
    assert UUID(endpoint.id) in tenant.woken


async def test_what_is_outside_of_the_range_stays(tenant: Tenant, runner: ReplayRunner) -> None:
    endpoint = await tenant.add()
    await tenant.delivered(endpoint.id, "failed", 3)
    long_ago = datetime.now(UTC) - 5 * HOUR
    for since, until in ((long_ago, long_ago + HOUR), (datetime.now(UTC) + HOUR, long_ago + 9 * HOUR)):
        done = await finished(
            tenant, runner, await begin(tenant, endpoint.id, since=at(since), until=at(until))
        )
        assert done.replayed_count == 0


async def test_many_pieces_and_several_runners_begin_each_delivery_once(
    tenant: Tenant, database: Database, scheduler: RoleDatabase, woken: Woken, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replays, "PIECE", 7)
    endpoint = await tenant.add()
    made = await tenant.delivered(endpoint.id, "failed", 60)
    replay = await begin(tenant, endpoint.id)
    runners = [ReplayRunner(database, scheduler, woken) for _ in range(3)]
    await asyncio.gather(*(each.carry_out(tenant.context, UUID(replay.id)) for each in runners))
    done = await finished(tenant, runners[0], replay)
    assert done.replayed_count == len(made)
    assert await pending(tenant, endpoint.id) == set(made)


async def test_a_replay_to_an_endpoint_that_is_being_deleted_begins_nothing(
    tenant: Tenant, runner: ReplayRunner
) -> None:
    endpoint = await tenant.add()
    (delivery_id,) = await tenant.delivered(endpoint.id, "failed")
    replay = await begin(tenant, endpoint.id)
    await tenant.while_deleted(endpoint.id, runner.carry_out(tenant.context, UUID(replay.id)))
    delivery = await tenant(deliveries_pb2.GetWebhookDeliveryRequest(delivery_id=delivery_id))
    assert delivery.status == deliveries_pb2.WEBHOOK_DELIVERY_STATUS_FAILED
    assert (await finished(tenant, runner, replay)).replayed_count == 0


async def test_a_replay_goes_on_where_it_was_cut_off(
    tenant: Tenant, runner: ReplayRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replays, "PIECE", 2)
    endpoint = await tenant.add()
    made = await tenant.delivered(endpoint.id, "failed", 5)
    replay = await begin(tenant, endpoint.id)
    async with tenant.database.tenant_transaction(tenant.context) as session:
        await replays.replay_piece(session, UUID(replay.id))
    assert len(await pending(tenant, endpoint.id)) == 2
    done = await finished(tenant, runner, replay)
    assert (done.replayed_count, await pending(tenant, endpoint.id)) == (5, set(made))


async def test_one_replay_at_a_time_runs_for_an_endpoint(tenant: Tenant, runner: ReplayRunner) -> None:
    endpoint = await tenant.add()
    first = await begin(tenant, endpoint.id)
    with pytest.raises(Conflict):
        await begin(tenant, endpoint.id)
    await finished(tenant, runner, first)
    await begin(tenant, endpoint.id)
    listed = await tenant(pb.ListWebhookReplaysRequest(endpoint_id=endpoint.id))
    assert [replay.id for replay in listed.replays][-1] == first.id


async def test_a_replay_of_nothing_or_to_nobody_is_refused(tenant: Tenant, stranger: Tenant) -> None:
    endpoint = await tenant.add()
    now = datetime.now(UTC)
    with pytest.raises(InvalidRequest):
        await begin(tenant, endpoint.id, since=at(now), until=at(now - HOUR))
    with pytest.raises(NotFound):
        await begin(stranger, endpoint.id)
    await tenant(UpdateWebhookEndpointRequest(endpoint_id=endpoint.id, enabled=False))
    with pytest.raises(Conflict):
        await begin(tenant, endpoint.id)
