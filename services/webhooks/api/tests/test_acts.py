"""What is done with endpoints and deliveries is told to the audit trail: by whom, from where, once, and without anything secret."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy import text

from chassis.context import ActorKind, Role
from chassis.errors import DomainError
from flownurture.audit.v1.acts_pb2 import AuditedAct
from flownurture.context.v1.context_pb2 import Actor
from flownurture.events.v1.envelope_pb2 import Envelope
from flownurture.webhooks.v1 import deliveries_pb2, replays_pb2
from flownurture.webhooks.v1 import endpoints_pb2 as pb
from flownurture.webhooks.v1.events_pb2 import WebhookActCommitted
from services.webhooks.api.tests.tenant import Tenant

SECRET_URL = "https://hooks.example.com:8443/services/T0K3N-in-path?key=T0K3N-in-query"


async def told(tenant: Tenant) -> list[AuditedAct]:
    """What the trail is told of so far, in its order."""
    async with tenant.database.tenant_transaction(tenant.context) as session:
        rows = (await session.execute(text("SELECT envelope FROM outbox ORDER BY id"))).scalars().all()
    envelopes = [Envelope.FromString(row) for row in rows]
    assert {each.type for each in envelopes} <= {WebhookActCommitted.DESCRIPTOR.full_name}
    return [WebhookActCommitted.FromString(each.payload).act for each in envelopes]


async def kinds(tenant: Tenant) -> list[str]:
    return [
        AuditedAct.Kind.Name(act.kind).removeprefix("KIND_WEBHOOK_").lower() for act in await told(tenant)
    ]


def update(endpoint: pb.WebhookEndpoint, **changes: Any) -> pb.UpdateWebhookEndpointRequest:
    return pb.UpdateWebhookEndpointRequest(endpoint_id=endpoint.id, **changes)


def headers(value: str) -> Struct:
    return ParseDict({"X-Key": value}, Struct())


async def test_every_act_is_told_with_who_did_it_from_where(tenant: Tenant) -> None:
    tenant.context = replace(tenant.context, client_address="192.0.2.1")
    endpoint = await tenant.add()
    (delivery_id,) = await tenant.delivered(endpoint.id)
    since = Timestamp()
    since.FromDatetime(datetime.now(UTC) - timedelta(hours=1))
    for request in (
        update(endpoint, event_types=["contact.*"]),
        update(endpoint, enabled=False),
        update(endpoint, enabled=True),
        pb.RotateWebhookEndpointSecretRequest(endpoint_id=endpoint.id),
        deliveries_pb2.ReplayWebhookDeliveryRequest(delivery_id=delivery_id),
        replays_pb2.CreateWebhookReplayRequest(endpoint_id=endpoint.id, since=since),
        pb.DeleteWebhookEndpointRequest(endpoint_id=endpoint.id),
    ):
        await tenant(request)
    assert await kinds(tenant) == [
        "endpoint_created",
        "endpoint_updated",
        "endpoint_disabled",
        "endpoint_enabled",
        "secret_rotated",
        "delivery_replay_requested",
        "replay_requested",
        "endpoint_deleted",
    ]
    for act in await told(tenant):
        assert (act.actor.kind, act.actor.id) == (Actor.KIND_USER, tenant.context.actor_id)
        assert (act.role, act.client_address) == (Role.ORG_ADMIN.value, "192.0.2.1")
        assert act.request_id
        assert act.target_id == (
            delivery_id if act.kind == AuditedAct.KIND_WEBHOOK_DELIVERY_REPLAY_REQUESTED else endpoint.id
        )


async def test_an_act_of_a_key_is_the_keys(tenant: Tenant) -> None:
    key = str(uuid4())
    tenant.context = replace(
        tenant.context,
        actor_kind=ActorKind.API_KEY,
        actor_id=key,
        role=Role.NONE,
        scopes=frozenset({"webhooks:write"}),
    )
    await tenant.add()
    (act,) = await told(tenant)
    assert (act.actor.kind, act.actor.id, act.role) == (Actor.KIND_API_KEY, key, 0)


async def test_a_change_is_told_as_it_was_and_as_it_is(tenant: Tenant) -> None:
    endpoint = await tenant.add("https://hooks.example.com/in", "*", rate_limit=5)
    await tenant(update(endpoint, url="https://elsewhere.example.com/in", rate_limit=0))
    act = (await told(tenant))[-1]
    assert MessageToDict(act.before) == {"origin": "https://hooks.example.com", "rate_limit": "5"}
    assert MessageToDict(act.after) == {
        "origin": "https://elsewhere.example.com",
        "rate_limit": None,
        "withheld": ["url"],
    }


async def test_what_changes_nothing_is_no_act(tenant: Tenant) -> None:
    endpoint = await tenant.add(description="CRM")
    (pending,) = await tenant.delivered(endpoint.id, "pending")
    await tenant(update(endpoint, description="CRM", enabled=True, event_types=["*"]))
    await tenant(deliveries_pb2.ReplayWebhookDeliveryRequest(delivery_id=pending))
    assert await kinds(tenant) == ["endpoint_created"]


async def test_what_is_refused_is_no_act(tenant: Tenant, stranger: Tenant) -> None:
    endpoint = await tenant.add()
    for request in (
        update(endpoint, description="Mine"),
        pb.RotateWebhookEndpointSecretRequest(endpoint_id=endpoint.id),
        pb.DeleteWebhookEndpointRequest(endpoint_id=endpoint.id),
    ):
        with pytest.raises(DomainError):
            await stranger(request)
    assert await kinds(stranger) == []


async def test_nothing_secret_and_nothing_free_is_told(tenant: Tenant) -> None:
    endpoint = await tenant.add(
        SECRET_URL, headers=headers("T0K3N-in-header"), description="Ada's T0K3N, ada@example.test"
    )
    rotated = await tenant(pb.RotateWebhookEndpointSecretRequest(endpoint_id=endpoint.id))
    await tenant(
        update(endpoint, url=f"{SECRET_URL}2", headers=headers("T0K3N-2"), description="T0K3N of Bob")
    )
    await tenant(update(endpoint, enabled=False))
    await tenant(pb.DeleteWebhookEndpointRequest(endpoint_id=endpoint.id))
    acts = await told(tenant)
    assert len(acts) == 5
    for act in acts:
        for secret in ("T0K3N", "Ada", "ada@", endpoint.secret, rotated.secret):
            assert secret not in str(act)
    assert MessageToDict(acts[0].after)["origin"] == "https://hooks.example.com:8443"
    assert MessageToDict(acts[2].after) == {"withheld": ["url", "description", "headers"]}
