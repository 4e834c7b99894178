"""Custom fields: declared once, typed ever after, and gone with all that they held."""

from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct

from chassis.errors import Conflict, InvalidRequest, NotFound
from flownurture.contacts.v1 import bulk_changes_pb2, contacts_pb2
from flownurture.contacts.v1 import custom_fields_pb2 as pb
from services.contacts.custom_fields import MOST_FIELDS
from services.contacts.tests.tenant import Tenant


def values(**given: Any) -> Struct:
    struct = Struct()
    struct.update(given)
    return struct


async def declare_all(tenant: Tenant) -> None:
    await tenant.declare("city", "text")
    await tenant.declare("score", "number")
    await tenant.declare("vip", "boolean")
    await tenant.declare("born", "date")
    await tenant.declare("color", "choice", "red", "green")


GOOD = {"city": "London", "score": 1.5, "vip": False, "born": "1815-12-10", "color": "red"}


async def test_values_are_kept_as_their_types_and_changed_one_by_one(tenant: Tenant) -> None:
    await declare_all(tenant)
    ada = await tenant.add("ada@example.com", custom_fields=values(**GOOD))
    assert MessageToDict(ada.custom_fields) == GOOD
    changed = await tenant(
        contacts_pb2.UpdateContactRequest(contact_id=ada.id, custom_fields=values(city=None, score=3))
    )
    left = {key: value for key, value in GOOD.items() if key != "city"}
    assert MessageToDict(changed.custom_fields) == left | {"score": 3.0}
    upserted = await tenant(
        contacts_pb2.UpsertContactRequest(email="ADA@example.com", custom_fields=values(color="green"))
    )
    assert MessageToDict(upserted.contact.custom_fields) == left | {"score": 3.0, "color": "green"}
    assert not upserted.created


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("shoe", 42, "is not a declared custom field"),
        ("city", 3, "must be a text"),
        ("city", "x" * 1001, "must be at most 1,000 characters"),
        ("city", "a\0b", "must not contain control characters"),
        ("city", ["x"], "must be a text"),
        ("score", "3", "must be a number"),
        ("score", True, "must be a number"),
        ("vip", "yes", "must be true or false"),
        ("born", "10.12.1815", "must be a date such as 2026-01-31"),
        ("born", "2026-02-30", "must be a date such as 2026-01-31"),
        ("color", "pink", "must be one of: red, green"),
    ],
)
async def test_a_value_that_is_none_is_told_by_its_key_and_nothing_is_kept(
    tenant: Tenant, key: str, value: Any, says: str
) -> None:
    await declare_all(tenant)
    wrong = values(**{**GOOD, key: value})
    other = contacts_pb2.UpsertContactRequest(email="x@example.com")
    one = contacts_pb2.UpsertContactRequest(email="ada@example.com", custom_fields=wrong)
    for request, place in (
        (contacts_pb2.CreateContactRequest(email="ada@example.com", custom_fields=wrong), ""),
        (one, ""),
        (contacts_pb2.BatchUpsertContactsRequest(contacts=[other, one]), "contacts[1]."),
    ):
        with pytest.raises(InvalidRequest) as refused:
            await tenant(request)
        (violation,) = refused.value.violations
        assert (violation.field, violation.message) == (f"{place}custom_fields.{key}", says)
    assert await tenant.everybody() == {}


@pytest.mark.parametrize(
    ("key", "kind", "choices", "field"),
    [
        ("", "text", [], "key"),
        ("City", "text", [], "key"),
        ("1st", "text", [], "key"),
        ("größe", "text", [], "key"),
        ("email", "text", [], "key"),
        ("color", "choice", [], "choices"),
        ("color", "choice", ["red", "red"], "choices"),
        ("city", "text", ["red"], "choices"),
    ],
)
async def test_a_declaration_that_is_none_is_refused(
    tenant: Tenant, key: str, kind: str, choices: list[str], field: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await tenant.declare(key, kind, *choices)
    assert [violation.field for violation in refused.value.violations] == [field]


async def test_a_key_is_declared_once_and_there_are_so_many_fields(tenant: Tenant) -> None:
    for number in range(MOST_FIELDS):
        await tenant.declare(f"f{number}", "text")
    for key in ("f0", "one_more"):
        with pytest.raises(Conflict):
            await tenant.declare(key, "text")


async def test_a_field_is_relabelled_and_gets_choices(tenant: Tenant) -> None:
    field = await tenant.declare("color", "choice", "red")
    changed = await tenant(
        pb.UpdateCustomFieldRequest(custom_field_id=field.id, label="Colour", add_choices=["green", "red"])
    )
    assert (changed.key, changed.label, list(changed.choices)) == ("color", "Colour", ["red", "green"])
    assert list((await tenant(pb.ListCustomFieldsRequest())).custom_fields) == [changed]
    text = await tenant.declare("city", "text")
    with pytest.raises(InvalidRequest):
        await tenant(pb.UpdateCustomFieldRequest(custom_field_id=text.id, add_choices=["x"]))


async def test_what_a_deleted_field_held_is_gone_at_once_and_never_comes_back(tenant: Tenant) -> None:
    field = await tenant.declare("city", "text")
    await tenant.declare("vip", "boolean")
    ada = await tenant.add("ada@example.com", custom_fields=values(city="London", vip=True))
    await tenant(pb.DeleteCustomFieldRequest(custom_field_id=field.id))
    with pytest.raises(NotFound):
        await tenant(pb.GetCustomFieldRequest(custom_field_id=field.id))
    await tenant.declare("city", "text")
    shown = await tenant(contacts_pb2.GetContactRequest(contact_id=ada.id))
    assert MessageToDict(shown.custom_fields) == {"vip": True}
    (change,) = (await tenant(bulk_changes_pb2.ListBulkChangesRequest())).bulk_changes
    assert change.forget_custom_field_id == field.id
    done = await tenant.finish_change(change.id)
    assert (done.total_contacts, done.changed_contacts) == (1, 1)
    assert await tenant.count("contacts WHERE custom_fields::text LIKE '%London%'") == 0
