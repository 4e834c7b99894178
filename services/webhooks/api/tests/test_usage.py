"""How many endpoints there may be: never more than the plan allows, by whomever together; and who asks about them."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from chassis.errors import DomainError, PermissionDenied, Unavailable
from chassis.rpc.client import Peer
from flownurture.webhooks.v1 import directory_pb2, endpoints_pb2, usage_pb2
from services.webhooks.api.tests.tenant import Tenant

AT_ONCE = 64


def on_a_plan_of(tenant: Tenant, endpoints: int) -> None:
    tenant.context = replace(tenant.context, limits=(("webhook_endpoints", endpoints),))


async def test_of_64_at_one_below_the_limit_exactly_one_passes(tenant: Tenant) -> None:
    on_a_plan_of(tenant, 3)
    for _ in range(2):
        await tenant.add()
    outcomes = await asyncio.gather(*(tenant.add() for _ in range(AT_ONCE)), return_exceptions=True)
    refused = [outcome for outcome in outcomes if isinstance(outcome, DomainError)]
    assert len(refused) == AT_ONCE - 1
    assert {(type(error), error.reason) for error in refused} == {(PermissionDenied, "PLAN_LIMIT_EXCEEDED")}


async def test_a_deleted_endpoint_frees_its_place(tenant: Tenant) -> None:
    on_a_plan_of(tenant, 1)
    made = await tenant.add()
    with pytest.raises(PermissionDenied):
        await tenant.add()
    await tenant(endpoints_pb2.DeleteWebhookEndpointRequest(endpoint_id=made.id))
    await tenant.add()


async def test_without_a_limit_in_its_context_nothing_is_added(tenant: Tenant) -> None:
    tenant.context = replace(tenant.context, limits=())
    with pytest.raises(Unavailable):
        await tenant.add()


async def test_identity_is_told_how_many_there_are(
    tenant: Tenant, stranger: Tenant, peer_as: Callable[[str], Peer]
) -> None:
    for _ in range(3):
        await tenant.add()
    await stranger.add()
    async with peer_as("identity") as identity:
        answer = await tenant.called_by(identity, "identity")(usage_pb2.CountEndpointsRequest())
    assert answer.endpoints == 3


async def test_sending_is_told_which_ids_are_endpoints_of_the_organization(
    tenant: Tenant, stranger: Tenant, peer_as: Callable[[str], Peer]
) -> None:
    mine, theirs = await tenant.add(), await stranger.add()
    asked = directory_pb2.FindEndpointsRequest(endpoint_ids=[mine.id, theirs.id])
    async with peer_as("sending") as sending:
        answer = await tenant.called_by(sending, "sending")(asked)
    assert list(answer.endpoint_ids) == [mine.id]
