"""What workflows learn of people: who they are now, and which rules fit them."""

import json
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from google.protobuf.struct_pb2 import Value
from sqlalchemy import text

from chassis.database import Database
from chassis.email_address import EmailAddress
from chassis.errors import InvalidRequest, PermissionDenied
from chassis.identifiers import new_id
from chassis.rpc.client import Peer
from flownurture.contacts.v1 import contacts_pb2, custom_fields_pb2, lists_pb2, segments_pb2, tags_pb2
from flownurture.contacts.v1 import workflow_contacts_pb2 as pb
from services.contacts.descriptions import Asked, describe
from services.contacts.tests.tenant import Tenant

_ROWS_READ = text("SELECT sum(seq_tup_read + idx_tup_fetch) FROM pg_stat_xact_user_tables")
PRESENT, UNKNOWN, BEHIND = pb.PRESENCE_PRESENT, pb.PRESENCE_UNKNOWN, pb.PRESENCE_BEHIND


@pytest.fixture
async def sending(peer_as: Callable[[str], Peer], tenant: Tenant) -> AsyncIterator[Tenant]:
    """The sending process, on behalf of the tenant's organization."""
    async with peer_as("sending") as peer:
        yield tenant.called_by(peer)


def by_id(contact: contacts_pb2.Contact, *rules: int, after: UUID | None = None) -> pb.Person:
    return pb.Person(
        contact_id=UUID(contact.id).bytes, rules=rules, after_change_id=after.bytes if after else b""
    )


def by_address(email: str, *rules: int) -> pb.Person:
    return pb.Person(email_digest=EmailAddress.parse(email).digest, rules=rules)


async def described(
    sending: Tenant, people: Sequence[pb.Person], rules: Sequence[segments_pb2.Rule] = (), *keys: str
) -> list[pb.PersonDescription]:
    request = pb.DescribePeopleRequest(people=people, rules=rules, custom_fields=keys)
    return list((await sending(request)).people)


def named(first_name: str) -> segments_pb2.Rule:
    return segments_pb2.Rule(
        field=segments_pb2.FieldCondition(
            name=segments_pb2.CONTACT_FIELD_FIRST_NAME,
            operator=segments_pb2.OPERATOR_EQUALS,
            value=Value(string_value=first_name),
        )
    )


def in_list(list_id: str) -> segments_pb2.Rule:
    return segments_pb2.Rule(list=segments_pb2.ListCondition(list_id=list_id))


def tagged(tag_id: str) -> segments_pb2.Rule:
    return segments_pb2.Rule(tag=segments_pb2.TagCondition(tag_id=tag_id))


def valued(key: str, operator: "segments_pb2.Operator.ValueType", **value: Any) -> segments_pb2.Rule:
    return segments_pb2.Rule(
        custom_field=segments_pb2.CustomFieldCondition(key=key, operator=operator, value=Value(**value))
    )


def negated(rule: segments_pb2.Rule) -> segments_pb2.Rule:
    negation = segments_pb2.Rule()
    getattr(negation, "not").CopyFrom(rule)
    return negation


async def test_people_are_described_each_in_their_place(
    tenant: Tenant, stranger: Tenant, sending: Tenant
) -> None:
    await tenant.declare("city", "text")
    await tenant.declare("age", "number")
    ada = await tenant.add(
        "ada@example.com",
        first_name="Ada",
        last_name="L",
        time_zone="Europe/Berlin",
        custom_fields={"city": "Köln", "age": 7},
    )
    bob = await tenant.add("bob@example.com")
    gone = await tenant.add("gone@example.com")
    await tenant(contacts_pb2.DeleteContactRequest(contact_id=gone.id))
    foreign = await stranger.add("eve@example.com")
    asked = [
        by_address("gone@example.com"),
        by_id(bob),
        by_id(foreign),
        by_address("ADA@example.com"),
        by_address("eve@example.com"),
        by_id(gone),
        by_id(bob),
    ]
    found = await described(sending, asked, [], "city", "undeclared")
    assert [each.presence for each in found] == [
        UNKNOWN,
        PRESENT,
        UNKNOWN,
        PRESENT,
        UNKNOWN,
        UNKNOWN,
        PRESENT,
    ]
    assert found[3] == pb.PersonDescription(
        presence=PRESENT,
        contact_id=UUID(ada.id).bytes,
        email="ada@example.com",
        email_digest=EmailAddress.parse("ada@example.com").digest,
        first_name="Ada",
        last_name="L",
        time_zone="Europe/Berlin",
        custom_fields=found[3].custom_fields,
    )
    assert json.loads(found[3].custom_fields) == {"city": "Köln"}
    assert json.loads(found[1].custom_fields) == {}
    assert found[1] == found[6]
    assert [each for each in found if each.presence == UNKNOWN] == [
        pb.PersonDescription(presence=UNKNOWN)
    ] * 4
    assert [each.custom_fields for each in await described(sending, asked)] == [""] * len(asked)
    assert await described(sending, []) == []


async def test_rules_are_answered_for_those_who_are_asked_about_by_them(
    tenant: Tenant, sending: Tenant
) -> None:
    readers = await tenant.add_list()
    await tenant.declare("age", "number")
    ada = await tenant.add("ada@example.com", first_name="Ada", list_ids=[readers.id], tags=["vip"])
    bob = await tenant.add("bob@example.com", first_name="Bob", custom_fields={"age": 30})
    (vip,) = (await tenant(tags_pb2.ListTagsRequest())).tags
    rules = [
        named("ADA"),
        in_list(readers.id),
        tagged(vip.id),
        valued("age", segments_pb2.OPERATOR_AT_LEAST, number_value=18),
        negated(in_list(readers.id)),
        segments_pb2.Rule(all=[in_list(readers.id), tagged(vip.id)]),
    ]
    every = range(len(rules))
    people = [by_id(ada, *every), by_address("bob@example.com", *every), by_id(ada, 5, 3, 0), by_id(bob)]
    found = await described(sending, [*people, by_address("x@example.com", *every)], rules)
    assert [list(each.fitting) for each in found] == [[0, 1, 2, 5], [3, 4], [0, 5], [], []]


async def test_a_condition_on_what_does_not_exist_any_more_fits_nobody(
    tenant: Tenant, sending: Tenant
) -> None:
    readers = await tenant.add_list()
    field = await tenant.declare("age", "number")
    ada = await tenant.add("ada@example.com", list_ids=[readers.id], tags=["vip"], custom_fields={"age": 30})
    (vip,) = (await tenant(tags_pb2.ListTagsRequest())).tags
    adult = valued("age", segments_pb2.OPERATOR_AT_LEAST, number_value=18)
    rules = [in_list(readers.id), tagged(vip.id), adult]
    rules += [negated(rule) for rule in rules]
    every = by_id(ada, *range(len(rules)))
    assert [list(each.fitting) for each in await described(sending, [every], rules)] == [[0, 1, 2]]
    await tenant(lists_pb2.DeleteListRequest(list_id=readers.id))
    await tenant(tags_pb2.DeleteTagRequest(tag_id=vip.id))
    await tenant(custom_fields_pb2.DeleteCustomFieldRequest(custom_field_id=field.id))
    assert [list(each.fitting) for each in await described(sending, [every], rules)] == [[3, 4, 5]]
    await tenant.declare("age", "text")
    assert [list(each.fitting) for each in await described(sending, [every], rules)] == [[3, 4, 5]]


async def test_nobody_is_described_before_the_change_that_was_ordered(
    tenant: Tenant, stranger: Tenant, sending: Tenant
) -> None:
    ada, bob = await tenant.add("ada@example.com"), await tenant.add("bob@example.com")
    order = new_id()
    asked = [by_id(ada, after=order), by_id(bob)]
    nobody = pb.Person(contact_id=new_id().bytes, after_change_id=order.bytes)
    await stranger.execute(f"INSERT INTO inbox (reader, event_id) VALUES ('contacts', '{order}')")
    found = await described(sending, [*asked, nobody])
    assert [each.presence for each in found] == [BEHIND, PRESENT, UNKNOWN]
    assert found[0] == pb.PersonDescription(presence=BEHIND)
    await tenant.execute(f"INSERT INTO inbox (reader, event_id) VALUES ('contacts', '{order}')")
    other = [by_id(bob, after=new_id()), by_id(ada, after=order)]
    assert [each.presence for each in await described(sending, other)] == [BEHIND, PRESENT]
    assert [each.presence for each in await described(sending, asked)] == [PRESENT, PRESENT]


async def test_an_order_that_the_inbox_has_forgotten_counts_as_carried_out(
    tenant: Tenant, sending: Tenant
) -> None:
    ada = await tenant.add("ada@example.com")
    milliseconds = int((datetime.now(UTC) - timedelta(days=15)).timestamp() * 1000)
    old = UUID(int=milliseconds << 80 | new_id().int & (1 << 80) - 1)
    (found,) = await described(sending, [by_id(ada, after=old)])
    assert found.presence == PRESENT


async def test_the_work_grows_with_those_who_are_asked_about_and_not_with_all_there_are(
    tenant: Tenant, database: Database
) -> None:
    vip = (await tenant(tags_pb2.CreateTagRequest(name="vip"))).id
    await tenant.execute("""
        INSERT INTO contacts (id, email, email_digest, status)
        SELECT uuidv7(), email, sha256(email::bytea), 'subscribed'
        FROM (SELECT 'r' || number || '@example.com' AS email FROM generate_series(1, 5000) AS number)
    """)
    await tenant.execute(
        f"INSERT INTO taggings (tag_id, contact_id, source) SELECT '{vip}', id, 'api' FROM contacts"
    )
    await tenant.execute("INSERT INTO inbox (reader, event_id) SELECT 'contacts', uuidv7() FROM contacts")
    people = [
        Asked(None, EmailAddress.parse(f"r{number}@example.com").digest, new_id(), frozenset((0,)))
        for number in range(1, 101)
    ]
    async with database.tenant_transaction(tenant.context) as session:
        before = await session.scalar(_ROWS_READ)
        found = await describe(session, people, [{"tag": {"tag_id": vip}}])
        after = await session.scalar(_ROWS_READ)
    assert [each and each.fitting for each in found] == [[0]] * 100
    assert after - before < 1_000


async def test_who_does_not_fit_into_an_answer_is_to_be_asked_about_again(
    tenant: Tenant, sending: Tenant
) -> None:
    await tenant.declare("story", "text")
    people = [by_id(await tenant.add(f"r{number}@example.com")) for number in range(10)]
    await tenant.execute(
        "UPDATE contacts SET custom_fields = jsonb_build_object('1', repeat('x', 400000)), first_name = 'X'"
    )
    first = await described(sending, people, [], "story")
    assert [each.presence for each in first] == [PRESENT] * 7 + [BEHIND] * 3
    assert [each.presence for each in await described(sending, people[7:], [], "story")] == [PRESENT] * 3
    assert [each.presence for each in await described(sending, people)] == [PRESENT] * 10


async def test_who_is_asked_about_by_nothing_or_by_no_rule_is_refused(
    tenant: Tenant, sending: Tenant
) -> None:
    ada = await tenant.add("ada@example.com")
    with pytest.raises(InvalidRequest) as refused:
        await described(sending, [by_id(ada), pb.Person(), by_id(ada, 0, 1)], [named("Ada")])
    assert [each.field for each in refused.value.violations] == ["people[1].contact_id", "people[2].rules"]
    many = segments_pb2.Rule(all=[named("Ada")] * 100)
    with pytest.raises(InvalidRequest) as refused:
        await described(sending, [by_id(ada, 0)], [many] * 11)
    assert [each.field for each in refused.value.violations] == ["rules"]
    (found,) = await described(sending, [by_id(ada, *range(10))], [many] * 10)
    assert not found.fitting


async def test_only_those_who_send_and_run_workflows_may_ask(
    tenant: Tenant, peer_as: Callable[[str], Peer]
) -> None:
    asked = [by_address("ada@example.com")]
    with pytest.raises(PermissionDenied):
        await described(tenant, asked)
    async with peer_as("workflows") as peer:
        assert len(await described(tenant.called_by(peer), asked)) == 1
