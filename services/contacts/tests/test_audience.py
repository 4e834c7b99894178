import json
from collections.abc import AsyncIterator, Callable
from uuid import UUID

import pytest
from google.protobuf.struct_pb2 import Value

from chassis.email_address import EmailAddress
from chassis.errors import NotFound, PermissionDenied
from chassis.identifiers import new_id
from chassis.rpc.client import Peer
from flownurture.contacts.v1 import audience_pb2 as pb
from flownurture.contacts.v1 import contacts_pb2, segments_pb2
from flownurture.sending.v1.messages_pb2 import SUPPRESSION_REASON_UNSUBSCRIBE
from services.contacts.tests.tenant import Tenant


@pytest.fixture
async def sending(peer_as: Callable[[str], Peer], tenant: Tenant) -> AsyncIterator[Tenant]:
    """The sending process, on behalf of the tenant's organization."""
    async with peer_as("sending") as peer:
        yield tenant.called_by(peer)


async def received(
    sending: Tenant,
    include: pb.Selection,
    exclude: pb.Selection | None = None,
    *,
    after: bytes = b"",
    size: int = 1000,
) -> list[tuple[UUID, str]]:
    """Ids and addresses of an audience behind a contact."""
    request = pb.StreamRecipientsRequest(
        include=include,
        exclude=exclude,
        batch_size=size,
        after_contact_id=str(UUID(bytes=after)) if after else "",
    )
    batches = [batch async for batch in sending.stream_recipients(request)]
    assert [len(batch.emails) for batch in batches[:-1]] == [size] * (len(batches) - 1)
    rows = [
        row
        for batch in batches
        for row in zip(batch.contact_ids, batch.emails, batch.email_digests, strict=True)
    ]
    assert all(digest == EmailAddress.parse(email).digest for _, email, digest in rows)
    return [(UUID(bytes=contact_id), email) for contact_id, email, _ in rows]


async def test_recipients_come_with_the_custom_fields_that_are_asked_for(
    tenant: Tenant, sending: Tenant
) -> None:
    await tenant.declare("city", "text")
    await tenant.declare("age", "number")
    await tenant.declare("secret", "text")
    readers, tag = await tenant.add_list(), "vip"
    for name, values in {
        "a": {"city": "Köln", "secret": "x"},
        "b": {},
        "c": {"age": 7, "city": "Bonn"},
    }.items():
        await tenant.add(f"{name}@example.com", list_ids=[readers.id], tags=[tag], custom_fields=values)
    for include in (pb.Selection(list_ids=[readers.id]), pb.Selection(tags=[tag])):
        wanted = pb.StreamRecipientsRequest(
            include=include, batch_size=10, custom_fields=["age", "city", "undeclared"]
        )
        [batch] = [batch async for batch in sending.stream_recipients(wanted)]
        assert list(map(json.loads, batch.custom_fields)) == [
            {"city": "Köln"},
            {},
            {"age": 7, "city": "Bonn"},
        ]
        wanted.ClearField("custom_fields")
        [batch] = [batch async for batch in sending.stream_recipients(wanted)]
        assert not batch.custom_fields


async def test_recipients_come_once_each_by_ascending_id(tenant: Tenant, sending: Tenant) -> None:
    readers, buyers, empty = [await tenant.add_list() for _ in range(3)]
    memberships = [[readers.id], [buyers.id], [], [readers.id, buyers.id], [buyers.id], [readers.id]]
    contacts = [
        await tenant.add(f"r{number}@example.com", first_name="R", last_name=str(number), list_ids=list_ids)
        for number, list_ids in enumerate(memberships)
    ]
    everybody = [(UUID(each.id), each.email) for each in contacts if each.list_ids]
    lists = pb.Selection(list_ids=[readers.id, buyers.id, empty.id, readers.id])
    for size in (1, 2, 3, 5, 1000):
        assert await received(sending, lists, size=size) == everybody
    for place, (contact_id, _) in enumerate(everybody):
        assert await received(sending, lists, after=contact_id.bytes, size=2) == everybody[place + 1 :]


async def test_an_audience_is_who_is_in_any_of_some_and_in_none_of_others(
    tenant: Tenant, sending: Tenant
) -> None:
    readers = await tenant.add_list()
    for name, list_ids, tags in [
        ("list", [readers.id], []),
        ("tag", [], ["vip"]),
        ("both", [readers.id], ["vip"]),
        ("segment", [], []),
        ("neither", [], []),
    ]:
        await tenant.add(f"{name}@example.com", list_ids=list_ids, tags=tags)
    rule = segments_pb2.Rule(
        field=segments_pb2.FieldCondition(
            name=segments_pb2.CONTACT_FIELD_EMAIL,
            operator=segments_pb2.OPERATOR_STARTS_WITH,
            value=Value(string_value="SEGMENT"),
        )
    )
    segment = await tenant(segments_pb2.CreateSegmentRequest(name="S", rule=rule))

    async def names(include: pb.Selection, exclude: pb.Selection | None = None) -> set[str]:
        return {email.partition("@")[0] for _, email in await received(sending, include, exclude, size=1)}

    lists = pb.Selection(list_ids=[readers.id])
    tagged = pb.Selection(tags=["VIP"])
    fitting = pb.Selection(segment_ids=[segment.id])
    assert await names(lists) == {"list", "both"}
    assert await names(tagged) == {"tag", "both"}
    assert await names(fitting) == {"segment"}
    assert await names(lists, tagged) == {"list"}
    assert await names(tagged, lists) == {"tag"}
    every = pb.Selection(list_ids=[readers.id], tags=["vip"], segment_ids=[segment.id])
    assert await names(every) == {"list", "tag", "both", "segment"}
    assert await names(every, fitting) == {"list", "tag", "both"}
    assert await names(pb.Selection()) == set()


async def test_who_opted_out_is_a_recipient_for_the_veto_to_show(tenant: Tenant, sending: Tenant) -> None:
    readers = await tenant.add_list()
    await tenant.add("ada@example.com", list_ids=[readers.id])
    await tenant.suppress("ada@example.com", SUPPRESSION_REASON_UNSUBSCRIBE)
    ((_, email),) = await received(sending, pb.Selection(list_ids=[readers.id]))
    assert email == "ada@example.com"


async def test_what_does_not_exist_is_named(tenant: Tenant, sending: Tenant, stranger: Tenant) -> None:
    readers, missing = await tenant.add_list(), str(new_id())
    foreign = await stranger.add_list()
    await stranger.add("x@example.com", tags=["vip"])
    for absent in (
        pb.Selection(list_ids=[readers.id, foreign.id]),
        pb.Selection(list_ids=[readers.id, missing]),
        pb.Selection(tags=["vip"]),
        pb.Selection(segment_ids=[missing]),
    ):
        for include, exclude in ((absent, None), (pb.Selection(list_ids=[readers.id]), absent)):
            with pytest.raises(NotFound) as refused:
                await received(sending, include, exclude)
            assert readers.id not in refused.value.message


async def test_only_the_sending_process_may_ask(tenant: Tenant, peer_as: Callable[[str], Peer]) -> None:
    readers = await tenant.add_list()
    with pytest.raises(PermissionDenied):
        await received(tenant, pb.Selection(list_ids=[readers.id]))
    async with peer_as("sending") as peer:
        with pytest.raises(PermissionDenied):
            await tenant.called_by(peer)(contacts_pb2.CreateContactRequest(email="x@example.com"))
