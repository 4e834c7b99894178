"""Which fields a connection keeps in step: what there is to map, what may be mapped with what, and what it would do."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from starlette.responses import JSONResponse

from chassis.context import Role
from chassis.errors import Conflict, InvalidRequest, NotFound, PermissionDenied, Unavailable
from chassis.identifiers import new_id
from flownurture.audit.v1.acts_pb2 import AuditedAct
from flownurture.contacts.v1 import synced_contacts_pb2
from flownurture.integrations.v1 import connections_pb2
from flownurture.integrations.v1 import field_mappings_pb2 as pb
from flownurture.integrations.v1.events_pb2 import IntegrationActCommitted
from services.integrations.crm.tests.servers.hubspot import HubSpotAccount
from services.integrations.crm.tests.servers.serving import serving
from services.integrations.sync.merging import fingerprint
from services.integrations.tests.house import House, Tenant
from services.integrations.tests.known_contacts import Known

FIELDS = [
    synced_contacts_pb2.SyncedField(
        name="points", is_custom=True, label="Points", type=synced_contacts_pb2.SYNCED_FIELD_TYPE_NUMBER
    ),
    synced_contacts_pb2.SyncedField(
        name="note",
        is_custom=True,
        label="Note",
        type=synced_contacts_pb2.SYNCED_FIELD_TYPE_TEXT,
        max_length=1_000,
    ),
]


class Scene:
    """An organization with an account of HubSpot."""

    def __init__(
        self, tenant: Tenant, account: HubSpotAccount, connection: connections_pb2.Connection
    ) -> None:
        self.tenant = tenant
        self.account = account
        self.connection_id = connection.id

    async def get(self) -> list[pb.FieldMapping]:
        found = await self.tenant(pb.GetFieldMappingsRequest(connection_id=self.connection_id))
        return list(found.field_mappings)

    async def put(self, *mappings: pb.FieldMapping) -> list[pb.FieldMapping]:
        request = pb.UpdateFieldMappingsRequest(connection_id=self.connection_id, field_mappings=mappings)
        return list((await self.tenant(request)).field_mappings)

    async def fields(self) -> Any:
        return await self.tenant(pb.GetMappableFieldsRequest(connection_id=self.connection_id))

    async def preview(self, *mappings: pb.FieldMapping) -> Any:
        request = pb.PreviewFieldMappingsRequest(connection_id=self.connection_id, field_mappings=mappings)
        return await self.tenant(request)

    async def refused(self, *mappings: pb.FieldMapping) -> dict[str, str]:
        """Why these are."""
        with pytest.raises(InvalidRequest) as refusal:
            await self.put(*mappings)
        return {each.field: each.message for each in refusal.value.violations}


@asynccontextmanager
async def scene_of(house: House) -> AsyncIterator[Scene]:
    tenant, account = house.tenant(), HubSpotAccount()
    house.contacts.custom_fields[tenant.context.organization] = FIELDS
    connection = await tenant.connect("hubspot")
    account.tokens |= house.crms["hubspot"].grants.access_tokens
    async with serving(account.app()) as url:
        await tenant.execute("UPDATE connections SET base_url = :url", url=url)
        yield Scene(tenant, account, connection)


@pytest.fixture
async def scene(integrations: House) -> AsyncIterator[Scene]:
    async with scene_of(integrations) as scene:
        yield scene


def mapping(field: str, to: str, **how: Any) -> pb.FieldMapping:
    return pb.FieldMapping(field=field, property=to, **how)


def pairs(mappings: list[pb.FieldMapping]) -> list[tuple[str, str]]:
    return [(each.field, each.property) for each in mappings]


NAMES = [("first_name", "firstname"), ("last_name", "lastname")]


async def test_a_new_connection_keeps_peoples_names_in_step(scene: Scene) -> None:
    found = await scene.get()
    assert pairs(found) == NAMES
    assert {(each.direction, each.conflict_rule) for each in found} == {
        (pb.FIELD_DIRECTION_BOTH, pb.CONFLICT_RULE_NEWEST)
    }
    salesforce = await scene.tenant.connect("salesforce")
    told = await scene.tenant(pb.GetFieldMappingsRequest(connection_id=salesforce.id))
    assert pairs(told.field_mappings) == [("first_name", "FirstName"), ("last_name", "LastName")]


async def test_what_can_be_mapped_is_told_with_its_types(scene: Scene) -> None:
    told = await scene.fields()
    assert [(each.field, each.type) for each in told.fields] == [
        ("first_name", pb.MAPPABLE_FIELD_TYPE_NAME),
        ("last_name", pb.MAPPABLE_FIELD_TYPE_NAME),
        ("custom.points", pb.MAPPABLE_FIELD_TYPE_NUMBER),
        ("custom.note", pb.MAPPABLE_FIELD_TYPE_TEXT),
    ]
    by_name = {each.property: each for each in told.properties}
    # What every contact has, and what is of no kind here, is none of them.
    assert not {"email", "gone", "position"} & by_name.keys()
    assert (by_name["hs_score"].type, by_name["hs_score"].writable) == (
        pb.MAPPABLE_PROPERTY_TYPE_NUMBER,
        False,
    )
    assert list(by_name["colour"].choices) == ["Red", "Blue"]


async def test_mappings_are_replaced_as_a_whole_and_the_trail_is_told(scene: Scene) -> None:
    wanted = [
        mapping("first_name", "firstname"),
        mapping("custom.points", "points", direction=pb.FIELD_DIRECTION_TO_CRM),
        mapping("custom.note", "colour", conflict_rule=pb.CONFLICT_RULE_CRM),
    ]
    assert pairs(await scene.put(*wanted)) == pairs(wanted)
    after = await scene.get()
    assert pairs(after) == pairs(wanted)
    assert after[1].direction == pb.FIELD_DIRECTION_TO_CRM
    assert after[2].conflict_rule == pb.CONFLICT_RULE_CRM
    # The same once more is no change.
    await scene.put(*wanted)
    assert await scene.put() == await scene.get() == []
    acts = [each.act for each in await scene.tenant.published(IntegrationActCommitted)]
    mapped = [each for each in acts if each.kind == AuditedAct.KIND_INTEGRATION_FIELDS_MAPPED]
    assert [len(each.after["field_mappings"]) for each in mapped] == [3, 0]
    assert mapped[0].before["field_mappings"][0] == "first_name both firstname, newest"


async def test_a_sync_goes_on_with_what_is_changed_and_where_one_is_new_compares_everybody(
    scene: Scene,
) -> None:
    await scene.tenant.execute("UPDATE sync_positions SET cursor = 'there', told_all_contacts = true")

    async def stands() -> tuple[str | None, bool]:
        """Where the syncs have arrived, and whether whoever worked on one still has it."""
        (position,) = await scene.tenant.rows("SELECT cursor FROM sync_positions")
        (sync,) = await scene.tenant.rows("SELECT lease_token FROM syncs")
        return position.cursor, sync.lease_token is not None

    async def work() -> None:
        await scene.tenant.execute("DELETE FROM syncs")
        await scene.tenant.execute(
            "INSERT INTO syncs (id, connection_id, trigger, status, lease_token, lease_until)"
            " VALUES (:id, :connection_id, 'schedule', 'running', :id, now() + interval '1 hour')",
            id=new_id(),
            connection_id=scene.connection_id,
        )

    changed = mapping("first_name", "firstname", conflict_rule=pb.CONFLICT_RULE_OURS)
    for mapped, then in (
        (changed, ("there", False)),
        (changed, ("there", True)),
        (mapping("first_name", "lastname"), (None, False)),
    ):
        await work()
        await scene.put(mapped)
        assert await stands() == then


async def test_what_does_not_fit_is_told_by_its_place_and_changes_nothing(scene: Scene) -> None:
    told = await scene.refused(
        mapping("email", "firstname"),
        mapping("custom.gone", "lastname"),
        mapping("first_name", "email"),
        mapping("last_name", "points"),
        mapping("custom.points", "hs_score"),
        mapping("custom.note", "hs_score", direction=pb.FIELD_DIRECTION_TO_CRM),
        mapping("first_name", "colour"),
    )
    assert sorted(told) == [
        "field_mappings[0].field",
        "field_mappings[1].field",
        "field_mappings[2].property",
        "field_mappings[3].property",
        "field_mappings[4].direction",
        "field_mappings[5].direction",
        "field_mappings[5].property",
        "field_mappings[6].field",
    ]
    assert told["field_mappings[6].field"] == "is mapped already"
    assert "number" in told["field_mappings[3].property"]
    assert list(await scene.refused(*[mapping("first_name", "firstname")] * 51)) == ["field_mappings"]
    assert pairs(await scene.get()) == NAMES


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        pytest.param([JSONResponse({}, 503)], Unavailable, id="it fails"),
        pytest.param([JSONResponse({}, 429)], Unavailable, id="it asks to be called more slowly"),
        pytest.param([JSONResponse({"category": "MISSING_SCOPES"}, 403)], Conflict, id="it may not be asked"),
        pytest.param([JSONResponse({"category": "VALIDATION_ERROR"}, 400)], Conflict, id="it refuses"),
        pytest.param([JSONResponse([1])], Unavailable, id="it makes no sense"),
    ],
)
async def test_what_a_crm_fails_at_is_told_and_changes_nothing(
    scene: Scene, answers: list[Any], error: type[Exception]
) -> None:
    for ask in (scene.fields, lambda: scene.put(mapping("first_name", "lastname"))):
        scene.account.instead = list(answers)
        with pytest.raises(error):
            await ask()
    assert pairs(await scene.get()) == NAMES


async def test_mappings_can_be_taken_away_while_the_crm_does_not_answer(scene: Scene) -> None:
    first, last = await scene.get()
    scene.account.instead = [JSONResponse({}, 503)]
    assert pairs(await scene.put(last)) == NAMES[1:]
    assert await scene.put() == []
    assert len(scene.account.instead) == 1
    with pytest.raises(Unavailable):
        await scene.put(first)


async def test_an_account_that_is_to_be_connected_again_says_so(scene: Scene) -> None:
    scene.account.tokens.clear()
    scene.tenant.house.crms["hubspot"].grants.refresh_tokens.clear()
    for _ in range(2):
        with pytest.raises(Conflict, match="connect the account again"):
            await scene.fields()
    found = await scene.tenant.connection(scene.connection_id)
    assert found.status == connections_pb2.CONNECTION_STATUS_NEEDS_AUTHORIZATION


async def test_an_account_with_more_than_can_be_told_is_told_in_part(scene: Scene) -> None:
    many = [
        {
            "name": f"property_{number}",
            "label": "L" * 2_000,
            "type": "enumeration",
            "fieldType": "select",
            "options": [{"value": f"{choice}", "label": f"{choice} {'C' * 500}"} for choice in range(10)],
        }
        for number in range(2_100)
    ]
    scene.account.instead = [JSONResponse({"results": many})]
    told = await scene.fields()
    assert len(told.properties) == 2_000
    assert sum(len(each.choices) for each in told.properties) == 2_000
    assert {len(each.label) for each in told.properties} == {100}


def told(value: pb.PreviewedValue) -> tuple[object, object, int, object, str]:
    """What the CRM has, what we have, to whom what is written, and what is wrong."""
    crm, ours, written = (MessageToDict(each) for each in (value.crm_value, value.our_value, value.written))
    return crm, ours, value.written_to, written if value.HasField("written") else "", value.problem


async def test_a_preview_shows_what_would_be_written_where_and_writes_nothing(scene: Scene) -> None:
    account, house = scene.account, scene.tenant.house
    account.add("grace@example.com", firstname="Grace", points="7", likes="b;a")
    account.add("ada@example.com", firstname="A" * 201, colour="blue")
    account.add(None, firstname="Nobody")
    ada = Known("ada@example.com", first_name="Ada", custom={"note": "Green", "points": 3})
    house.contacts.known[scene.tenant.context.organization] = [ada]
    before = json.dumps(account.contacts)
    found = await scene.preview(
        mapping("first_name", "firstname"),
        mapping("custom.points", "points"),
        mapping("custom.note", "colour", conflict_rule=pb.CONFLICT_RULE_OURS),
    )
    nobody, known, new = found.contacts
    assert (nobody.problem, list(nobody.values)) == ("It has no e-mail address.", [])
    us, crm, neither = pb.WRITTEN_TO_US, pb.WRITTEN_TO_CRM, pb.WRITTEN_TO_NOBODY
    assert (known.email, known.contact_id) == ("ada@example.com", str(ada.id))
    assert [told(value) for value in known.values] == [
        ("A" * 201, "Ada", neither, "", "First name has more than 200 characters."),
        (None, 3, crm, 3, ""),
        ("Blue", "Green", neither, "", "Note is none of the CRM's choices."),
    ]
    assert (new.email, new.contact_id) == ("grace@example.com", "")
    assert [told(value) for value in new.values] == [
        ("Grace", None, us, "Grace", ""),
        (7, None, us, 7, ""),
        (None, None, neither, "", ""),
    ]
    assert json.dumps(account.contacts) == before
    assert pairs(await scene.get()) == NAMES


async def test_a_preview_of_what_is_mapped_tells_what_does_not_hold_any_more(scene: Scene) -> None:
    scene.account.add("ada@example.com", firstname="Ada")
    await scene.put(mapping("first_name", "firstname"), mapping("custom.points", "points"))
    scene.tenant.house.contacts.custom_fields.clear()
    found = await scene.preview()
    assert [value.field for value in found.contacts[0].values] == ["first_name"]
    assert list(found.problems) == [
        "custom.points and points are not kept in step: field is none that contacts have."
    ]
    with pytest.raises(InvalidRequest):
        await scene.preview(mapping("custom.points", "points"))


async def test_a_preview_goes_by_what_was_agreed_upon_until_a_field_is_mapped_anew(scene: Scene) -> None:
    """Whoever is linked has a base to compare with; a field that is mapped to another property has none."""
    record_id = scene.account.add("ada@example.com", firstname="Ada")
    ada = Known("ada@example.com", first_name="Ada")
    scene.tenant.house.contacts.known[scene.tenant.context.organization] = [ada]
    (first, _) = await scene.get()
    agreement = {"1": fingerprint(ada.id, "1", "Ada")}
    await scene.tenant.execute(
        "INSERT INTO links (connection_id, contact_id, record_id, fingerprints, crm_opted_out, is_cut)"
        " VALUES (:id, :contact_id, :record_id, CAST(:agreed AS jsonb), false, false)",
        id=scene.connection_id,
        contact_id=ada.id,
        record_id=record_id,
        agreed=json.dumps(agreement),
    )
    scene.account.edit(record_id, firstname="")
    (contact,) = (await scene.preview(first)).contacts
    assert told(contact.values[0]) == (None, "Ada", pb.WRITTEN_TO_US, None, "")
    (contact,) = (await scene.preview(mapping("first_name", "lastname"))).contacts
    assert told(contact.values[0]) == (None, "Ada", pb.WRITTEN_TO_CRM, "Ada", "")


async def test_a_preview_shows_ten_at_the_most_whatever_is_in_them(scene: Scene) -> None:
    for number in range(12):
        scene.account.add(f"reader{number}@example.com", firstname="x" * 60_000)
    found = await scene.preview()
    assert len(found.contacts) == 10
    assert {len(contact.values[0].crm_value.string_value) for contact in found.contacts} == {1_000}


async def test_only_admins_change_what_is_mapped_and_all_members_see_it(scene: Scene) -> None:
    member = Tenant(scene.tenant.house, replace(scene.tenant.context, role=Role.MEMBER))
    await member(pb.GetFieldMappingsRequest(connection_id=scene.connection_id))
    await member(pb.GetMappableFieldsRequest(connection_id=scene.connection_id))
    for request in (pb.UpdateFieldMappingsRequest, pb.PreviewFieldMappingsRequest):
        with pytest.raises(PermissionDenied):
            await member(request(connection_id=scene.connection_id))


async def test_mappings_of_another_organization_are_not_there(scene: Scene) -> None:
    stranger = scene.tenant.house.tenant()
    calls = len(scene.account.calls)
    for connection_id in (scene.connection_id, str(new_id())):
        for request in (
            pb.GetMappableFieldsRequest(connection_id=connection_id),
            pb.GetFieldMappingsRequest(connection_id=connection_id),
            pb.UpdateFieldMappingsRequest(connection_id=connection_id),
            pb.PreviewFieldMappingsRequest(connection_id=connection_id),
        ):
            with pytest.raises(NotFound):
                await stranger(request)
    assert len(scene.account.calls) == calls


async def test_mappings_go_with_their_connection(scene: Scene) -> None:
    await scene.put(mapping("first_name", "firstname"))
    await scene.tenant.disconnect(scene.connection_id)
    assert await scene.tenant.rows("SELECT FROM field_mappings") == []
