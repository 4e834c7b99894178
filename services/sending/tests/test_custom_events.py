"""What clients tell of contacts goes on to whoever waits for it, and nothing else does."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct

from chassis.errors import InvalidRequest, NotFound
from flownurture.sending.v1 import custom_events_pb2 as pb
from flownurture.sending.v1.events_pb2 import CustomEventsTold
from services.sending.tests.tenant import Tenant
from services.sending.tests.workflow_contacts import WorkflowContacts


@pytest.fixture
def ada(tenant: Tenant, workflow_contacts: WorkflowContacts) -> str:
    return str(workflow_contacts.add(tenant.context.organization, "ada@example.test"))


def ordered(**fields: Any) -> pb.CreateCustomEventRequest:
    return pb.CreateCustomEventRequest(name="ordered", **fields)


async def told(tenant: Tenant) -> list[Any]:
    return [each for event in await tenant.published(CustomEventsTold) for each in event.events]


async def test_an_event_is_told_of_a_contact_by_id_or_address(tenant: Tenant, ada: str) -> None:
    properties = ParseDict({"total": 12.5}, Struct())
    by_id = (await tenant(ordered(contact_id=ada, properties=properties))).event
    moment = datetime.now(UTC) - timedelta(days=6)
    by_email = (await tenant(ordered(email="Ada@Example.test", occurred_at=moment))).event
    first, second = await told(tenant)
    assert (first.name, first.contact_id, first.id, first.properties) == (
        "ordered",
        ada,
        by_id.id,
        properties,
    )
    assert (second.contact_id, second.occurred_at) == (ada, by_email.occurred_at)
    assert by_email.occurred_at.ToDatetime(UTC) == moment


@pytest.mark.parametrize("away", [timedelta(days=-7, minutes=-1), timedelta(minutes=2)])
async def test_what_is_long_ago_or_to_come_is_refused(tenant: Tenant, ada: str, away: timedelta) -> None:
    with pytest.raises(InvalidRequest):
        await tenant(ordered(contact_id=ada, occurred_at=datetime.now(UTC) + away))


async def test_nothing_is_told_of_who_is_not_there(tenant: Tenant, stranger: Tenant, ada: str) -> None:
    for request in (ordered(contact_id=str(uuid4())), ordered(email="nobody@example.test")):
        with pytest.raises(NotFound):
            await tenant(request)
    for wrong in (ordered(), ordered(contact_id=ada, email="ada@example.test")):
        with pytest.raises(InvalidRequest):
            await tenant(wrong)
    with pytest.raises(NotFound):
        await stranger(ordered(contact_id=ada))
    assert await told(tenant) == await told(stranger) == []


async def test_of_many_each_is_told_or_refused(tenant: Tenant, ada: str) -> None:
    answer = await tenant(
        pb.BatchCreateCustomEventsRequest(
            events=[
                ordered(email="nobody@example.test"),
                ordered(contact_id=ada),
                ordered(),
                ordered(contact_id=ada),
            ]
        )
    )
    assert [result.error.type for result in answer.results] == ["not-found", "", "invalid-request", ""]
    assert answer.results[2].error.field == "contact_id"
    assert [each.id for each in await told(tenant)] == [
        answer.results[1].event.id,
        answer.results[3].event.id,
    ]


async def test_events_that_are_large_together_go_as_several(tenant: Tenant, ada: str) -> None:
    properties = ParseDict({"text": "x" * 8_000}, Struct())
    batch = [ordered(contact_id=ada, properties=properties) for _ in range(300)]
    await tenant(pb.BatchCreateCustomEventsRequest(events=batch))
    sets = await tenant.published(CustomEventsTold)
    assert sum(len(each.events) for each in sets) == 300
    assert len(sets) > 4


async def test_an_event_under_its_key_is_told_once(tenant: Tenant, ada: str) -> None:
    tenant.context = replace(tenant.context, idempotency_key="once")
    assert await tenant(ordered(contact_id=ada)) == await tenant(ordered(contact_id=ada))
    assert len(await told(tenant)) == 1
