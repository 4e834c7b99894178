"""Test events go to the endpoint that they are asked for; what an endpoint missed can be had later, and tests are none of it."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import orjson
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy import select

from chassis.database import Database, RoleDatabase
from chassis.errors import Conflict, InvalidRequest, NotFound
from chassis.identifiers import new_id
from flownurture.webhooks.v1 import deliveries_pb2, replays_pb2
from flownurture.webhooks.v1.endpoints_pb2 import TestWebhookEndpointRequest as Rehearse
from flownurture.webhooks.v1.endpoints_pb2 import UpdateWebhookEndpointRequest
from services.webhooks.api.tests.tenant import URL, Tenant, Woken
from services.webhooks.event_types import example
from services.webhooks.fan_out import keep
from services.webhooks.payloads import Told
from services.webhooks.replay_runner import ReplayRunner
from services.webhooks.tables import deliveries, events


def happened(event_type: str) -> Told:
    return Told(
        id=new_id(), type=event_type, data=b"{}", sequence=1, occurred_at=datetime.now(UTC), contact_id=None
    )


async def sent(tenant: Tenant, endpoint_id: str) -> list[deliveries_pb2.WebhookDelivery]:
    page = await tenant(deliveries_pb2.ListWebhookDeliveriesRequest(endpoint_id=endpoint_id))
    return list(page.deliveries)


async def test_a_test_event_is_the_example_of_its_type_for_one_endpoint(tenant: Tenant) -> None:
    endpoint, other = await tenant.add(URL, "email.*"), await tenant.add(URL, "*")
    delivery = await tenant(Rehearse(endpoint_id=endpoint.id, event_type="email.sent"))
    assert (delivery.endpoint_id, delivery.event_type) == (endpoint.id, "email.sent")
    assert delivery.status == deliveries_pb2.WEBHOOK_DELIVERY_STATUS_PENDING
    assert await sent(tenant, other.id) == []
    assert tenant.woken == [UUID(endpoint.id)]
    async with tenant.database.tenant_transaction(tenant.context) as session:
        wanted = select(events.c.payload).where(events.c.id == UUID(delivery.event_id))
        assert orjson.loads(await session.scalar(wanted)) == example("email.sent")


async def test_without_a_type_it_is_one_that_the_endpoint_takes(tenant: Tenant) -> None:
    endpoint = await tenant.add(URL, "campaign.*")
    assert (await tenant(Rehearse(endpoint_id=endpoint.id))).event_type.startswith("campaign.")


async def test_nothing_is_sent_to_an_endpoint_that_is_being_deleted(tenant: Tenant) -> None:
    endpoint = await tenant.add()
    with pytest.raises(NotFound):
        await tenant.while_deleted(endpoint.id, tenant(Rehearse(endpoint_id=endpoint.id)))
    async with tenant.database.tenant_transaction(tenant.context) as session:
        assert (await session.execute(select(deliveries.c.id))).all() == []


async def test_nothing_is_rehearsed_that_cannot_be(tenant: Tenant, stranger: Tenant) -> None:
    endpoint = await tenant.add()
    with pytest.raises(InvalidRequest):
        await tenant(Rehearse(endpoint_id=endpoint.id, event_type="contact.flew"))
    with pytest.raises(NotFound):
        await stranger(Rehearse(endpoint_id=endpoint.id))
    await tenant(UpdateWebhookEndpointRequest(endpoint_id=endpoint.id, enabled=False))
    with pytest.raises(Conflict):
        await tenant(Rehearse(endpoint_id=endpoint.id))


async def test_what_an_endpoint_missed_is_sent_once_and_no_test_of_another(
    tenant: Tenant, database: Database, scheduler: RoleDatabase, woken: Woken
) -> None:
    endpoint, other = await tenant.add(URL, "contact.*"), await tenant.add()
    await tenant(Rehearse(endpoint_id=other.id, event_type="contact.created"))
    missed = [happened("contact.created"), happened("contact.updated"), happened("email.sent")]
    async with database.tenant_transaction(tenant.context) as session:
        await keep(session, missed)
    since = Timestamp()
    since.FromDatetime(datetime.now(UTC) - timedelta(hours=1))
    for replayed in (2, 0):
        begun = await tenant(
            replays_pb2.CreateWebhookReplayRequest(
                endpoint_id=endpoint.id,
                since=since,
                deliveries=replays_pb2.WEBHOOK_REPLAY_DELIVERIES_MISSED,
            )
        )
        await ReplayRunner(database, scheduler, woken).carry_out(tenant.context, UUID(begun.id))
        done = await tenant(replays_pb2.GetWebhookReplayRequest(replay_id=begun.id))
        assert done.status == replays_pb2.WEBHOOK_REPLAY_STATUS_COMPLETED
        assert done.replayed_count == replayed
    assert {delivery.event_id for delivery in await sent(tenant, endpoint.id)} == {
        str(event.id) for event in missed[:2]
    }
