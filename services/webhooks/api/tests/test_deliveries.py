"""Deliveries as their organization sees them, and sends them once more."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from chassis.errors import Conflict, NotFound
from flownurture.webhooks.v1 import deliveries_pb2 as pb
from flownurture.webhooks.v1.endpoints_pb2 import DeleteWebhookEndpointRequest, UpdateWebhookEndpointRequest
from services.webhooks.api.tests.tenant import Tenant


def at(moment: datetime) -> Timestamp:
    message = Timestamp()
    message.FromDatetime(moment)
    return message


async def listed(tenant: Tenant, endpoint_id: str, **wanted: Any) -> list[str]:
    found: list[str] = []
    token, more = "", True
    while more:
        request = pb.ListWebhookDeliveriesRequest(
            endpoint_id=endpoint_id, page_size=2, page_token=token, **wanted
        )
        page = await tenant(request)
        found += [delivery.id for delivery in page.deliveries]
        token, more = page.next_page_token, bool(page.next_page_token)
    return found


async def get(tenant: Tenant, delivery_id: str) -> pb.WebhookDelivery:
    answer: pb.WebhookDelivery = await tenant(pb.GetWebhookDeliveryRequest(delivery_id=delivery_id))
    return answer


async def replay(tenant: Tenant, delivery_id: str) -> pb.WebhookDelivery:
    answer: pb.WebhookDelivery = await tenant(pb.ReplayWebhookDeliveryRequest(delivery_id=delivery_id))
    return answer


async def test_deliveries_are_listed_newest_first_as_they_are_asked_for(tenant: Tenant) -> None:
    endpoint, other = await tenant.add(), await tenant.add()
    good = await tenant.delivered(endpoint.id, number=3)
    bad = await tenant.delivered(endpoint.id, "failed", number=2)
    await tenant.delivered(other.id)
    assert await listed(tenant, endpoint.id) == [*good, *bad][::-1]
    assert await listed(tenant, endpoint.id, status=pb.WEBHOOK_DELIVERY_STATUS_FAILED) == bad[::-1]
    assert await listed(tenant, endpoint.id, event_type="email.sent") == []
    assert await listed(tenant, endpoint.id, event_type="contact.created") == [*good, *bad][::-1]
    now = datetime.now(UTC)
    assert await listed(tenant, endpoint.id, since=at(now + timedelta(hours=1))) == []
    assert await listed(tenant, endpoint.id, until=at(now - timedelta(hours=1))) == []
    within = {"since": at(now - timedelta(hours=1)), "until": at(now + timedelta(hours=1))}
    assert len(await listed(tenant, endpoint.id, **within)) == 5


async def test_a_delivery_is_told_with_every_attempt(tenant: Tenant) -> None:
    endpoint = await tenant.add()
    (delivery_id,) = await tenant.delivered(endpoint.id)
    found = await get(tenant, delivery_id)
    (attempt,) = found.attempts
    assert (attempt.number, attempt.outcome, attempt.status_code) == (1, "delivered", 200)
    assert (attempt.address, attempt.duration_ms, attempt.response_body) == ("192.0.2.1", 12, "ok")
    page = await tenant(pb.ListWebhookDeliveriesRequest(endpoint_id=endpoint.id))
    assert not page.deliveries[0].attempts


@pytest.mark.parametrize("status", ["delivered", "failed", "cancelled"])
async def test_a_replay_sends_the_same_event_from_the_schedules_beginning(
    tenant: Tenant, status: str
) -> None:
    endpoint = await tenant.add()
    (delivery_id,) = await tenant.delivered(endpoint.id, status)
    before = await get(tenant, delivery_id)
    again = await replay(tenant, delivery_id)
    assert (again.id, again.event_id) == (before.id, before.event_id)
    assert again.status == pb.WEBHOOK_DELIVERY_STATUS_PENDING
    assert again.next_attempt_at.ToDatetime(UTC) <= datetime.now(UTC) + timedelta(minutes=1)
    assert not again.HasField("settled_at")
    assert [str(each) for each in tenant.woken] == [endpoint.id]


async def test_a_replay_of_what_is_pending_changes_nothing(tenant: Tenant) -> None:
    endpoint = await tenant.add()
    (delivery_id,) = await tenant.delivered(endpoint.id, "pending")
    before = await get(tenant, delivery_id)
    assert (await replay(tenant, delivery_id)).next_attempt_at == before.next_attempt_at


async def test_nothing_is_replayed_to_an_endpoint_that_is_disabled_or_gone(tenant: Tenant) -> None:
    endpoint = await tenant.add()
    (delivery_id,) = await tenant.delivered(endpoint.id)
    await tenant(UpdateWebhookEndpointRequest(endpoint_id=endpoint.id, enabled=False))
    with pytest.raises(Conflict):
        await replay(tenant, delivery_id)
    await tenant(DeleteWebhookEndpointRequest(endpoint_id=endpoint.id))
    with pytest.raises(Conflict):
        await replay(tenant, delivery_id)


async def test_nothing_is_replayed_to_an_endpoint_that_is_being_deleted(tenant: Tenant) -> None:
    endpoint = await tenant.add()
    (delivery_id,) = await tenant.delivered(endpoint.id)
    with pytest.raises(Conflict):
        await tenant.while_deleted(endpoint.id, replay(tenant, delivery_id))
    assert (await get(tenant, delivery_id)).status == pb.WEBHOOK_DELIVERY_STATUS_DELIVERED


async def test_what_waits_for_an_endpoint_is_cancelled_with_it(tenant: Tenant) -> None:
    endpoint = await tenant.add()
    (waiting,) = await tenant.delivered(endpoint.id, "pending")
    (done,) = await tenant.delivered(endpoint.id)
    await tenant(DeleteWebhookEndpointRequest(endpoint_id=endpoint.id))
    assert (await get(tenant, waiting)).status == pb.WEBHOOK_DELIVERY_STATUS_CANCELLED
    assert (await get(tenant, done)).status == pb.WEBHOOK_DELIVERY_STATUS_DELIVERED


async def test_deliveries_are_nothing_to_another_organization(tenant: Tenant, stranger: Tenant) -> None:
    endpoint = await tenant.add()
    (delivery_id,) = await tenant.delivered(endpoint.id)
    for request in (
        pb.GetWebhookDeliveryRequest(delivery_id=delivery_id),
        pb.ReplayWebhookDeliveryRequest(delivery_id=delivery_id),
        pb.ListWebhookDeliveriesRequest(endpoint_id=endpoint.id),
        pb.GetWebhookDeliveryRequest(delivery_id=str(uuid4())),
    ):
        with pytest.raises(NotFound):
            await stranger(request)
