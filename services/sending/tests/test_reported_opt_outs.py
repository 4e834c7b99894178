"""Who has opted out elsewhere is on the list here, and comes off it as anybody who opted out: by themselves."""

from collections.abc import AsyncIterator, Callable

import pytest

from chassis.errors import Conflict, PermissionDenied
from chassis.rpc.client import Peer
from chassis.secret import Secret
from chassis.stamp import Stamper
from flownurture.suppression.v1 import reported_opt_outs_pb2 as pb
from flownurture.suppression.v1 import suppressions_pb2
from flownurture.suppression.v1.events_pb2 import AddressesSuppressed
from flownurture.suppression.v1.reported_opt_outs_pb2_grpc import ReportedOptOutServiceStub
from services.sending.tests.tenant import Tenant

Environment = Callable[[str], dict[str, str]]


@pytest.fixture
async def integrations(suppression: Peer, service_environment: Environment) -> AsyncIterator[Peer]:
    key = Secret(service_environment("integrations")["STAMP_PRIVATE_KEY"])
    async with Peer(suppression._target, "suppression", Stamper("integrations", key)) as peer:
        yield peer


async def report(peer: Peer, tenant: Tenant, *emails: str) -> None:
    stub = ReportedOptOutServiceStub(peer.channel)
    await peer.call(stub.TakeOptOuts, pb.TakeOptOutsRequest(emails=emails, note="CRM"), tenant.context)


async def test_who_opted_out_elsewhere_is_on_the_list_once_it_answers(
    integrations: Peer, tenant: Tenant, stranger: Tenant
) -> None:
    for _ in range(2):
        await report(integrations, tenant, "Ada@example.com", "ada@example.com", "bob@example.com")
    entries = (await tenant(suppressions_pb2.ListSuppressionsRequest())).suppressions
    assert sorted((entry.email, entry.note) for entry in entries) == [
        ("Ada@example.com", "CRM"),
        ("bob@example.com", "CRM"),
    ]
    told = [len(event.addresses) for event in await tenant.published(AddressesSuppressed)]
    assert told == [2]
    assert not (await stranger(suppressions_pb2.ListSuppressionsRequest())).suppressions
    with pytest.raises(Conflict):
        await tenant(suppressions_pb2.DeleteSuppressionRequest(suppression_id=entries[0].id))


async def test_nobody_else_may_report_opt_outs(suppression: Peer, tenant: Tenant) -> None:
    with pytest.raises(PermissionDenied):
        await report(suppression, tenant, "ada@example.com")
