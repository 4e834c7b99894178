"""What a service tells of gets into the trail as it was told: once, by whom it was done, from where and when."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct

from chassis.database import Database
from chassis.identifiers import new_id
from flownurture.audit.v1.acts_pb2 import AuditedAct
from flownurture.context.v1.context_pb2 import Actor
from flownurture.events.v1.envelope_pb2 import Envelope
from flownurture.webhooks.v1.events_pb2 import WebhookActCommitted, WebhookEndpointDisabled
from services.identity import audit
from services.identity.account_mails import AccountMails
from services.identity.audit import AuditEvent
from services.identity.consumers import consumers
from services.identity.tests import mails
from services.identity.tests.edge import Edge, Person

AN_HOUR_AGO = datetime.now(UTC).replace(microsecond=123_456) - timedelta(hours=1)


async def hear(database: Database, organization: Person, event: Any, times: int = 1) -> None:
    envelope = Envelope(
        id=str(new_id()),
        organization_id=organization.answer.organization.id,
        type=event.DESCRIPTOR.full_name,
        payload=event.SerializeToString(),
    )
    envelope.occurred_at.FromDatetime(AN_HOUR_AGO)
    (reader,) = (
        each
        for each in consumers(None, database, AccountMails("", mails.SEALED))  # type: ignore[arg-type]
        if each.stream == "WEBHOOKS"
    )
    for _ in range(times):
        await reader.handle(envelope.SerializeToString())


async def trail(database: Database, organization: Person) -> list[AuditEvent]:
    async with database.tenant_transaction(organization.context, read_only=True) as session:
        found = await audit.page(session, before=None, size=100)
    return [event for event in found if event.act.startswith("webhook_")]


def updated(after: dict[str, Any], **fields: Any) -> WebhookActCommitted:
    act = AuditedAct(
        kind=AuditedAct.KIND_WEBHOOK_ENDPOINT_UPDATED,
        target_id=str(new_id()),
        after=ParseDict(after, Struct()),
        actor=Actor(kind=Actor.KIND_API_KEY, id=str(new_id())),
        client_address="192.0.2.1",
        request_id=str(new_id()),
    )
    act.MergeFrom(AuditedAct(**fields))
    return WebhookActCommitted(act=act)


async def test_an_act_is_in_the_trail_once_however_often_it_is_told(edge: Edge, database: Database) -> None:
    owner = await edge.sign_up()
    told = updated({"event_types": ["*"], "rate_limit": None, "message_signatures": True})
    await hear(database, owner, told, times=3)
    (event,) = await trail(database, owner)
    assert (event.act, event.target_id) == ("webhook_endpoint_updated", UUID(told.act.target_id))
    assert (event.actor_kind, event.actor_id, event.role) == ("API_KEY", told.act.actor.id, "NONE")
    assert (event.client_address, event.request_id) == ("192.0.2.1", told.act.request_id)
    assert (event.before, event.occurred_at) == (None, AN_HOUR_AGO)
    assert event.after == {"event_types": ["*"], "rate_limit": None, "message_signatures": True}
    assert event.is_as_written


async def test_that_the_platform_disabled_an_endpoint_is_an_act_of_the_platform(
    edge: Edge, database: Database
) -> None:
    owner = await edge.sign_up()
    gone = WebhookEndpointDisabled(
        endpoint_id=str(new_id()), url="https://hooks.test/T0K3N?key=s3cret", reason="gone"
    )
    await hear(database, owner, gone, times=2)
    (event,) = await trail(database, owner)
    assert (event.act, event.target_id) == ("webhook_endpoint_disabled", UUID(gone.endpoint_id))
    assert (event.actor_kind, event.actor_id, event.client_address) == ("PROCESS", "webhooks", "")
    assert (event.before, event.after) == ({"enabled": True}, {"enabled": False, "reason": "gone"})


@pytest.mark.parametrize("fact", [5, {"a": "b"}, ["a", 5], [["a"]]])
async def test_what_has_no_place_in_the_trail_is_not_written(
    edge: Edge, database: Database, fact: Any
) -> None:
    owner = await edge.sign_up()
    with pytest.raises(ValueError, match=r"after\.fact"):
        await hear(database, owner, updated({"fact": fact}))
    assert await trail(database, owner) == []


async def test_an_act_that_the_trail_has_no_name_for_is_not_written(edge: Edge, database: Database) -> None:
    owner = await edge.sign_up()
    with pytest.raises(ValueError, match="4711"):
        await hear(database, owner, updated({}, kind=4711))
    assert await trail(database, owner) == []
