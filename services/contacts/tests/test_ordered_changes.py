"""What steps of workflows do with contacts happens once, in its order, and as far as it still can."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import UUID

import pytest
from google.protobuf.struct_pb2 import Value
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chassis.email_address import EmailAddress
from chassis.errors import Unavailable
from chassis.identifiers import new_id
from chassis.rpc.client import Peer
from flownurture.contacts.v1 import (
    contacts_pb2,
    custom_fields_pb2,
    events_pb2,
    lists_pb2,
    segments_pb2,
    tags_pb2,
)
from flownurture.contacts.v1 import list_choices_pb2 as choices_pb2
from flownurture.contacts.v1 import workflow_contacts_pb2 as descriptions_pb2
from flownurture.sending.v1.workflows_pb2 import FieldReference, SetField
from flownurture.workflows.v1.events_pb2 import ChangeContacts, ContactChange
from services.contacts.tests.tenant import Tenant
from services.contacts.tests.test_workflow_contacts import by_id, described, tagged

WORKFLOW = contacts_pb2.CONTACT_SOURCE_WORKFLOW
FIRST_NAME = segments_pb2.CONTACT_FIELD_FIRST_NAME


def change(contact: contacts_pb2.Contact, after: UUID | None = None, **what: Any) -> ContactChange:
    return ContactChange(
        effect_id=new_id().bytes,
        contact_id=UUID(contact.id).bytes,
        after_change_id=after.bytes if after else b"",
        **what,
    )


def set_custom(key: str, **value: Any) -> SetField:
    return SetField(field=FieldReference(custom_field=key), value=Value(**value) if value else None)


def set_name(name: "segments_pb2.ContactField.ValueType", text: str) -> SetField:
    return SetField(field=FieldReference(name=name), value=Value(string_value=text))


def order(*changes: ContactChange) -> ChangeContacts:
    return ChangeContacts(changes=changes)


async def add_tag(tenant: Tenant, name: str) -> str:
    return str((await tenant(tags_pb2.CreateTagRequest(name=name))).id)


@pytest.fixture
async def workflows(peer_as: Callable[[str], Peer], tenant: Tenant) -> AsyncIterator[Tenant]:
    async with peer_as("workflows") as peer:
        yield tenant.called_by(peer)


async def test_what_steps_do_with_contacts_is_done_and_told_as_theirs(tenant: Tenant) -> None:
    await tenant.declare("plan", "text")
    old, new = (await tenant.add_list("Old")).id, (await tenant.add_list("New")).id
    cold, warm = await add_tag(tenant, "cold"), await add_tag(tenant, "warm")
    ada = await tenant.add("ada@example.com", list_ids=[old], tags=["cold"])
    bob = await tenant.add("bob@example.com", tags=["warm"])
    before, (first, second) = len(await tenant.published()), (new_id(), new_id())
    await tenant.hear(
        order(
            change(ada, remove_tag_id=cold, workflow_id=first.bytes),
            change(ada, add_tag_id=warm, workflow_id=first.bytes),
            change(bob, add_tag_id=warm, workflow_id=second.bytes),
            change(ada, add_to_list_id=new, workflow_id=first.bytes),
            change(ada, remove_from_list_id=old, workflow_id=second.bytes),
            change(ada, set_field=set_custom("plan", string_value="pro")),
            change(bob, set_field=set_name(FIRST_NAME, " Bob ")),
        )
    )
    people = await tenant.everybody()
    now = people[ada.email]
    assert (list(now.tags), list(now.list_ids), dict(now.custom_fields)) == (["warm"], [new], {"plan": "pro"})
    assert (people[bob.email].first_name, list(people[bob.email].tags)) == ("Bob", ["warm"])
    assert now.updated_at.ToNanoseconds() > ada.updated_at.ToNanoseconds()

    told = (await tenant.published())[before:]
    by_ada: dict[str, Any] = {"contact_ids": [ada.id], "source": WORKFLOW}
    assert {type(event).__name__: event for event in told} == {
        "TagRemoved": events_pb2.TagRemoved(tag_id=cold, **by_ada),
        "TagAdded": events_pb2.TagAdded(tag_id=warm, **by_ada),
        "ListJoined": events_pb2.ListJoined(list_id=new, **by_ada),
        "ListLeft": events_pb2.ListLeft(list_id=old, **by_ada),
        "ContactsUpdated": events_pb2.ContactsUpdated(
            contacts=[people[ada.email], people[bob.email]],
            changed=[
                events_pb2.ChangedFields(names=["custom_fields.plan"]),
                events_pb2.ChangedFields(names=["first_name"]),
            ],
        ),
    }
    found = await tenant(contacts_pb2.ListContactEventsRequest(contact_id=ada.id, page_size=4))
    assert [(event.source, event.source_id) for event in found.events] == [
        (WORKFLOW, str(second)),
        *[(WORKFLOW, str(first))] * 3,
    ]


async def test_an_order_that_comes_again_changes_nothing_again(tenant: Tenant) -> None:
    vip, order_id = await add_tag(tenant, "vip"), new_id()
    ada = await tenant.add("ada@example.com")
    ordered = order(change(ada, add_tag_id=vip))
    await tenant.hear(ordered, order_id)
    await tenant(contacts_pb2.UpdateContactRequest(contact_id=ada.id, remove_tags=["vip"]))
    events = len(await tenant.published())
    await asyncio.gather(*(tenant.hear(ordered, order_id) for _ in range(3)))
    assert not (await tenant.everybody())[ada.email].tags
    # Nor is it told that somebody has become what they were.
    await tenant.hear(order(change(ada, remove_tag_id=vip), change(ada, set_field=set_name(FIRST_NAME, ""))))
    assert len(await tenant.published()) == events


async def test_an_order_waits_for_the_one_before_it_and_so_does_who_asks(
    tenant: Tenant, workflows: Tenant
) -> None:
    vip = await add_tag(tenant, "vip")
    ada, bob = await tenant.add("ada@example.com"), await tenant.add("bob@example.com")
    first, second = new_id(), new_id()
    ordered = order(change(bob, add_tag_id=vip), change(ada, after=first, remove_tag_id=vip))
    with pytest.raises(Unavailable):
        await tenant.hear(ordered, second)
    assert not (await tenant.everybody())[bob.email].tags
    asked = [by_id(ada, 0, after=first), by_id(ada, 0, after=second)]
    assert [each.presence for each in await described(workflows, asked, [tagged(vip)])] == [
        descriptions_pb2.PRESENCE_BEHIND
    ] * 2
    await tenant.hear(order(change(ada, add_tag_id=vip)), first)
    found = await described(workflows, asked, [tagged(vip)])
    assert [(each.presence, list(each.fitting)) for each in found] == [
        (descriptions_pb2.PRESENCE_PRESENT, [0]),
        (descriptions_pb2.PRESENCE_BEHIND, []),
    ]
    await tenant.hear(ordered, second)
    people = await tenant.everybody()
    assert (list(people[ada.email].tags), list(people[bob.email].tags)) == ([], ["vip"])
    found = await described(workflows, asked, [tagged(vip)])
    assert [list(each.fitting) for each in found] == [[], []]


async def test_what_is_not_there_any_more_is_passed_over_and_the_rest_is_done(
    tenant: Tenant, stranger: Tenant
) -> None:
    vip = await add_tag(tenant, "vip")
    gone_tag, foreign_tag = await add_tag(tenant, "gone"), await add_tag(stranger, "vip")
    gone_list, foreign_list = (await tenant.add_list()).id, (await stranger.add_list()).id
    field = await tenant.declare("plan", "text")
    await tenant.declare("age", "number")
    ada, erased = await tenant.add("ada@example.com"), await tenant.add("gone@example.com")
    foreign = await stranger.add("eve@example.com")
    await tenant(contacts_pb2.DeleteContactRequest(contact_id=erased.id))
    await tenant(tags_pb2.DeleteTagRequest(tag_id=gone_tag))
    await tenant(lists_pb2.DeleteListRequest(list_id=gone_list))
    await tenant(custom_fields_pb2.DeleteCustomFieldRequest(custom_field_id=field.id))
    await tenant.hear(
        order(
            change(erased, add_tag_id=vip),
            change(foreign, add_tag_id=vip),
            change(foreign, set_field=set_name(FIRST_NAME, "Mallory")),
            change(ada, add_tag_id=gone_tag),
            change(ada, remove_tag_id=foreign_tag),
            change(ada, add_tag_id=foreign_tag),
            change(ada, add_to_list_id=gone_list),
            change(ada, add_to_list_id=foreign_list),
            change(ada, remove_from_list_id=foreign_list),
            change(ada, set_field=set_custom("plan", string_value="pro")),
            change(ada, set_field=set_custom("age", string_value="old")),
            change(ada, set_field=set_name(FIRST_NAME, "x" * 201)),
            change(ada, set_field=set_name(segments_pb2.CONTACT_FIELD_EMAIL, "eve@example.com")),
            change(ada, set_field=SetField()),
            change(ada, add_tag_id=vip),
        )
    )
    now = (await tenant.everybody())[ada.email]
    assert (now.first_name, list(now.tags), list(now.list_ids), dict(now.custom_fields)) == (
        "",
        ["vip"],
        [],
        {},
    )
    assert (await stranger.everybody())[foreign.email] == foreign


async def test_a_list_that_a_person_has_left_by_choice_stays_left(
    tenant: Tenant, peer_as: Callable[[str], Peer]
) -> None:
    news = (await tenant(lists_pb2.CreateListRequest(name="News", is_public=True))).id
    ada, bob = [await tenant.add(f"{name}@example.com", list_ids=[news]) for name in ("ada", "bob")]
    async with peer_as("suppression") as peer:
        digest = EmailAddress.parse(ada.email).digest
        await tenant.called_by(peer)(
            choices_pb2.ChooseListsRequest(email_digest=digest, offered_list_ids=[news])
        )
    await tenant.hear(order(change(bob, remove_from_list_id=news)))
    await tenant.hear(order(*(change(each, add_to_list_id=news) for each in (ada, bob))))
    people = await tenant.everybody()
    assert [list(people[each.email].list_ids) for each in (ada, bob)] == [[], [news]]


async def test_orders_that_cross_are_all_carried_out(tenant: Tenant) -> None:
    await tenant.declare("score", "number")
    tags = [await add_tag(tenant, name) for name in ("a", "b", "c", "d")]
    people = [await tenant.add(f"r{number}@example.com") for number in range(20)]

    def crossing(place: int) -> ChangeContacts:
        own = people if place % 2 else people[::-1]
        score = set_custom("score", number_value=place)
        return order(
            *(change(each, set_field=score) for each in own),
            *(change(each, add_tag_id=tags[place]) for each in own),
        )

    await asyncio.gather(*(tenant.hear(crossing(place)) for place in range(len(tags))))
    assert {tuple(each.tags) for each in (await tenant.everybody()).values()} == {("a", "b", "c", "d")}


# Who, what, and with which of two.
_steps = st.tuples(
    st.integers(0, 2),
    st.sampled_from(["add_tag_id", "remove_tag_id", "add_to_list_id", "remove_from_list_id", "set_field"]),
    st.integers(0, 1),
)


async def test_changes_of_one_contact_are_made_in_their_order(tenant: Tenant) -> None:
    await tenant.declare("plan", "text")
    tags = [await add_tag(tenant, name) for name in ("a", "b")]
    lists = [(await tenant.add_list()).id for _ in range(2)]
    people = [await tenant.add(f"r{number}@example.com") for number in range(3)]
    drawn: list[list[tuple[int, str, int]]] = []

    @settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(_steps, max_size=20))
    def draw(steps: list[tuple[int, str, int]]) -> None:
        drawn.append(steps)

    draw()
    expected: list[dict[str, Any]] = [{"tags": set(), "lists": set(), "plan": None} for _ in people]
    for steps in drawn:
        changes = []
        for who, what, which in steps:
            named: Any = {"set_field": set_custom("plan", **({"string_value": "x"} if which else {}))}.get(
                what, (tags if "tag" in what else lists)[which]
            )
            changes.append(change(people[who], **{what: named}))
            if what == "set_field":
                expected[who]["plan"] = "x" if which else None
            elif what.startswith("add"):
                expected[who]["tags" if "tag" in what else "lists"].add(which)
            else:
                expected[who]["tags" if "tag" in what else "lists"].discard(which)
        await tenant.hear(order(*changes))
        found = await tenant.everybody()
        assert [
            {
                "tags": {"ab".index(name) for name in found[each.email].tags},
                "lists": {lists.index(list_id) for list_id in found[each.email].list_ids},
                "plan": dict(found[each.email].custom_fields).get("plan"),
            }
            for each in people
        ] == expected
