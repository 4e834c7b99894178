"""What the document of a workflow names is looked at before anybody comes into it."""

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest
from google.protobuf.struct_pb2 import Value

from chassis.errors import InvalidRequest
from chassis.identifiers import new_id
from chassis.rpc.client import Peer
from flownurture.contacts.v1 import segments_pb2, tags_pb2
from flownurture.contacts.v1 import workflow_contacts_pb2 as pb
from services.contacts.tests.tenant import Tenant
from services.contacts.tests.test_forms import make_form
from services.contacts.tests.test_workflow_contacts import in_list, named, negated, tagged, valued

FIRST_NAME, EMAIL = segments_pb2.CONTACT_FIELD_FIRST_NAME, segments_pb2.CONTACT_FIELD_EMAIL


@pytest.fixture
async def workflows(peer_as: Callable[[str], Peer], tenant: Tenant) -> AsyncIterator[Tenant]:
    async with peer_as("workflows") as peer:
        yield tenant.called_by(peer)


async def checked(asker: Tenant, **things: Mapping[str, Any]) -> pb.CheckReferencesResponse:
    """The answer about things by the paths that they have."""
    request = pb.CheckReferencesRequest(
        things=[pb.NamedThing(path=path, **thing) for path, thing in things.items()]
    )
    answer: pb.CheckReferencesResponse = await asker(request)
    return answer


def wrong(answer: pb.CheckReferencesResponse) -> dict[str, str]:
    assert len({each.path for each in answer.violations}) == len(answer.violations)
    return {each.path: each.message for each in answer.violations}


def set_to(key: str, **value: Any) -> dict[str, Any]:
    return {"field_value": pb.FieldValue(custom_field=key, value=Value(**value))}


def name_set_to(name: "segments_pb2.ContactField.ValueType", **value: Any) -> dict[str, Any]:
    return {"field_value": pb.FieldValue(name=name, value=Value(**value))}


async def add_tag(tenant: Tenant, name: str) -> str:
    return str((await tenant(tags_pb2.CreateTagRequest(name=name))).id)


async def add_segment(tenant: Tenant) -> str:
    rule = named("Ada")
    return str((await tenant(segments_pb2.CreateSegmentRequest(name="S", rule=rule))).id)


async def test_what_has_an_id_must_be_there_in_this_organization(
    tenant: Tenant, stranger: Tenant, workflows: Tenant
) -> None:
    async def belongings(of: Tenant) -> dict[str, dict[str, str]]:
        return {
            "a": {"list_id": (await of.add_list()).id},
            "b": {"tag_id": await add_tag(of, "vip")},
            "c": {"form_id": (await make_form(of)).id},
            "d": {"segment_id": await add_segment(of)},
        }

    own = await belongings(tenant)
    assert wrong(await checked(workflows, **own)) == {}
    refused = {
        "a": "is not the id of a list",
        "b": "is not the id of a tag",
        "c": "is not the id of a form",
        "d": "is not the id of a segment",
    }
    assert wrong(await checked(workflows, **await belongings(stranger))) == refused
    mixed_up = dict(zip(own, [{kind: own["a"]["list_id"]} for kind in ("list_id", "tag_id")], strict=False))
    assert wrong(await checked(workflows, **mixed_up)) == {"b": "is not the id of a tag"}


async def test_custom_fields_must_be_declared_and_dates_where_a_day_is_meant(
    tenant: Tenant, workflows: Tenant
) -> None:
    await tenant.declare("born", "date")
    await tenant.declare("age", "number")
    answer = await checked(
        workflows,
        a={"custom_field": "age"},
        b={"custom_field": "city"},
        c={"date_field": "born"},
        d={"date_field": "age"},
        e={"date_field": "city"},
    )
    assert wrong(answer) == {
        "b": "is not a declared custom field",
        "d": "is a number, and must be a date",
        "e": "is not a declared custom field",
    }


async def test_values_must_be_such_as_the_field_has(tenant: Tenant, workflows: Tenant) -> None:
    await tenant.declare("age", "number")
    await tenant.declare("plan", "choice", "free", "pro")
    answer = await checked(
        workflows,
        a=set_to("age", number_value=7),
        b=set_to("age", string_value="7"),
        c=set_to("plan", string_value="pro"),
        d=set_to("plan", string_value="gold"),
        e=set_to("city", string_value="Köln"),
        f={"field_value": pb.FieldValue(custom_field="age")},
        g=name_set_to(FIRST_NAME, string_value="Ada"),
        h=name_set_to(FIRST_NAME, string_value="x" * 201),
        i=name_set_to(FIRST_NAME, number_value=1),
        j=name_set_to(EMAIL, string_value="a@example.com"),
    )
    assert wrong(answer) == {
        "b": "must be a number",
        "d": "must be one of: free, pro",
        "e": "is not a declared custom field",
        "h": "may have at most 200 characters",
        "i": "must be a text",
        "j": "is not a field that a workflow sets",
    }


async def test_rules_are_checked_as_those_of_segments_and_each_wrong_place_is_named(
    tenant: Tenant, stranger: Tenant, workflows: Tenant
) -> None:
    readers, vip = (await tenant.add_list()).id, await add_tag(tenant, "vip")
    foreign = (await stranger.add_list()).id
    await tenant.declare("age", "number")
    adult = valued("age", segments_pb2.OPERATOR_AT_LEAST, number_value=18)
    nested = segments_pb2.Rule(all=[in_list(readers), segments_pb2.Rule(any=[tagged(vip), adult])])
    missing = segments_pb2.Rule(any=[in_list(readers), negated(in_list(foreign)), tagged(str(new_id()))])
    odd = segments_pb2.Rule(all=[valued("age", segments_pb2.OPERATOR_CONTAINS, string_value="1"), adult])
    answer = await checked(
        workflows,
        goal={"rule": adult},
        nested={"rule": nested},
        missing={"rule": missing},
        odd={"rule": odd},
        none={"rule": segments_pb2.Rule()},
    )
    assert set(wrong(answer)) == {
        "missing.any[1].not.list.list_id",
        "missing.any[2].tag.tag_id",
        "odd.all[0].custom_field.operator",
        "none",
    }
    assert list(answer.advanced_paths) == ["nested"]


async def test_rules_of_one_document_are_no_more_than_can_be_looked_at_together(workflows: Tenant) -> None:
    many = {"rule": segments_pb2.Rule(all=[named("Ada")] * 100)}
    assert wrong(await checked(workflows, **{f"r{number}": many for number in range(10)})) == {}
    assert set(wrong(await checked(workflows, **{f"r{number}": many for number in range(11)}))) == {"r10"}


async def test_a_thing_that_is_none_is_refused(workflows: Tenant) -> None:
    for thing in (pb.NamedThing(path="x"), pb.NamedThing(path="x", field_value=pb.FieldValue())):
        with pytest.raises(InvalidRequest):
            await workflows(pb.CheckReferencesRequest(things=[thing]))
