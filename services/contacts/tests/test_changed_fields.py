"""What is told of a change names the fields whose values it changed, and no others, wherever it came from."""

from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flownurture.contacts.v1 import bulk_changes_pb2, events_pb2, lists_pb2
from flownurture.contacts.v1 import contacts_pb2 as pb
from flownurture.sending.v1.messages_pb2 import SUPPRESSION_REASON_HARD_BOUNCE, SUPPRESSION_REASON_UNSUBSCRIBE
from services.contacts.tests.tenant import Tenant

ADA = "ada@example.com"
OWN = ("email", "first_name", "last_name", "status", "time_zone")
VALUES = {
    "first_name": ["", "Ada", "Eve"],
    "last_name": ["", "X", "Y"],
    "time_zone": ["", "UTC", "Asia/Tokyo"],
}
CUSTOM: dict[str, list[Any]] = {
    "city": ["London", "Rome", None],
    "orders": [1, 2.5, None],
    "vip": [True, False, None],
}


async def updates(tenant: Tenant) -> list[events_pb2.ContactsUpdated]:
    return [event for event in await tenant.published() if isinstance(event, events_pb2.ContactsUpdated)]


async def told_last(tenant: Tenant) -> set[str]:
    """The names that the last update tells of its one contact."""
    (fields,) = (await updates(tenant))[-1].changed
    return set(fields.names)


def values_of(contact: pb.Contact) -> dict[str, object]:
    own = {name: getattr(contact, name) for name in OWN}
    custom = MessageToDict(contact.custom_fields)
    return own | {f"custom_fields.{key}": custom.get(key) for key in CUSTOM}


def custom_fields(**values: Any) -> Struct:
    held = Struct()
    held.update(values)
    return held


@pytest.fixture
async def declared(tenant: Tenant) -> Tenant:
    """A tenant with custom fields."""
    for key, kind in (("city", "text"), ("orders", "number"), ("vip", "boolean")):
        await tenant.declare(key, kind)
    return tenant


async def test_an_update_names_what_has_another_value(declared: Tenant) -> None:
    ada = await declared.add(ADA, first_name="Ada", custom_fields=custom_fields(city="Rome", vip=True))
    for change, names in (
        ({"first_name": "Ada", "last_name": "L"}, {"last_name"}),
        ({"first_name": "Ada"}, set()),
        ({"email": "Ada@example.com", "time_zone": "UTC"}, {"email", "time_zone"}),
        (
            {"custom_fields": custom_fields(city="Rome", orders=1, vip=None)},
            {"custom_fields.orders", "custom_fields.vip"},
        ),
        ({"add_tags": ["vip"]}, set()),
        ({"add_tags": ["new"], "first_name": "A"}, {"first_name"}),
    ):
        await declared(pb.UpdateContactRequest(contact_id=ada.id, **change))
        assert await told_last(declared) == names, change


async def test_an_address_that_is_refused_changes_the_status_with_the_address(tenant: Tenant) -> None:
    ada = await tenant.add(ADA)
    await tenant.suppress("eve@example.com", SUPPRESSION_REASON_HARD_BOUNCE)
    await tenant(pb.UpdateContactRequest(contact_id=ada.id, email="eve@example.com"))
    assert await told_last(tenant) == {"email", "status"}


async def test_a_status_that_follows_from_a_suppression_is_named(tenant: Tenant) -> None:
    await tenant.add(ADA)
    await tenant.suppress(ADA, SUPPRESSION_REASON_UNSUBSCRIBE)
    assert await told_last(tenant) == {"status"}


async def test_who_has_other_lists_or_tags_has_no_other_fields(tenant: Tenant) -> None:
    readers, ada = await tenant.add_list(), await tenant.add(ADA)
    await tenant(lists_pb2.AddListContactsRequest(list_id=readers.id, contact_ids=[ada.id]))
    assert await told_last(tenant) == set()
    await tenant.change_all(
        bulk_changes_pb2.CreateBulkChangeRequest(contact_ids=[ada.id], remove_from_list_id=readers.id)
    )
    assert await told_last(tenant) == set()
    assert len(await updates(tenant)) == 2


async def test_a_file_names_for_each_row_what_it_changes(declared: Tenant) -> None:
    await declared.import_file(b"email,first name,city\na@x.test,A,Rome\nb@x.test,B,Rome\nc@x.test,C,Rome\n")
    await declared.import_file(
        b"email,first name,city,orders,tags\na@x.test,A,Rome,,new\nb@x.test,Bo,Rome,,\nc@x.test,,Oslo,3,\nd@x.test,D,,,\n"
    )
    (told,) = await updates(declared)
    assert {
        contact.email: set(fields.names) for contact, fields in zip(told.contacts, told.changed, strict=True)
    } == {
        "a@x.test": set(),
        "b@x.test": {"first_name"},
        "c@x.test": {"custom_fields.city", "custom_fields.orders"},
    }


async def test_any_upsert_names_what_became_another(declared: Tenant) -> None:
    given_fields = st.fixed_dictionaries(
        {}, optional={name: st.sampled_from(values) for name, values in VALUES.items()}
    )
    given_custom = st.fixed_dictionaries(
        {}, optional={key: st.sampled_from(values) for key, values in CUSTOM.items()}
    )
    drawn: list[tuple[dict[str, str], dict[str, Any]]] = []

    # Hypothesis draws, and the event loop that the database belongs to runs the checks.
    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(given_fields, given_custom)
    def draw(fields: dict[str, str], custom: dict[str, Any]) -> None:
        drawn.append((fields, custom))

    draw()
    before, told = values_of(await declared.add(ADA)), 0
    for fields, custom in drawn:
        request = pb.UpsertContactRequest(email=ADA, custom_fields=custom_fields(**custom), **fields)
        after = values_of((await declared(request)).contact)
        names = {name for name in after if after[name] != before[name]}
        seen = await updates(declared)
        assert [set(fields.names) for event in seen[told:] for fields in event.changed] == (
            [names] if names else []
        )
        before, told = after, len(seen)


async def test_an_event_has_room_for_all_names(tenant: Tenant) -> None:
    keys = [f"field_{'x' * 42}{number:02}" for number in range(100)]
    for key in keys:
        await tenant.declare(key, "number")
    addresses = [f"r{number}@x.test" for number in range(200)]
    await tenant.import_file("\n".join(["email", *addresses]).encode())
    rows = [",".join([address, *("1" for _ in keys)]) for address in addresses]
    await tenant.import_file("\n".join([",".join(["email", *keys]), *rows]).encode())
    told = await updates(tenant)
    assert sum(len(event.contacts) for event in told) == sum(len(event.changed) for event in told) == 200
    assert all(len(fields.names) == len(keys) for event in told for fields in event.changed)
    assert max(event.ByteSize() for event in told) < 600_000
