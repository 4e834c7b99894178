"""Which mappings fit, what becomes of those that do not, and what a changed one remembers."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.integrations.crm import records
from services.integrations.crm.records import Kind, Property, Record
from services.integrations.sync.contacts import OurContact
from services.integrations.sync.field_mappings import FieldMapping, Mappings, fitted
from services.integrations.sync.mapped_fields import MappedFields
from services.integrations.sync.merging import Agreement, Direction, Merge, Value, Winner, merge
from services.integrations.sync.our_fields import FieldType, OurField

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)
CONTACT_ID = UUID(int=7)
FIELDS = [
    OurField("first_name", "First name", FieldType.NAME, max_length=200),
    OurField("custom.points", "Points", FieldType.NUMBER),
    OurField("custom.note", "Note", FieldType.TEXT, max_length=1_000),
]
PROPERTIES = [
    Property("given", "Given name", Kind.TEXT),
    Property("nick", "Nickname", Kind.TEXT),
    Property("points", "Points", Kind.NUMBER),
    Property("score", "Score", Kind.NUMBER, is_writable=False),
]
BOTH, TO_CRM, FROM_CRM = Direction


def fields_of(*mappings: FieldMapping) -> MappedFields:
    found = fitted(mappings, FIELDS, PROPERTIES)
    assert not found.problems
    return found.fields


def met(
    fields: MappedFields, agreed: Agreement, ours: dict[str, Value], theirs: dict[str, records.Value]
) -> Merge:
    contact = OurContact(CONTACT_ID, "ada@example.com", ours, False, 1)
    nothing: dict[str, records.Value] = dict.fromkeys(each.name for each in PROPERTIES)
    record = Record("1", "ada@example.com", {**nothing, **theirs}, False, NOON)
    return merge(
        CONTACT_ID, fields.copy_of_contact(contact), fields.copy_of_record(record, ""), agreed, fields.rules
    )


@pytest.mark.parametrize(
    ("mapping", "part"),
    [
        pytest.param(FieldMapping("email", "given"), "field", id="the address"),
        pytest.param(FieldMapping("custom.gone", "given"), "field", id="a field that is not there"),
        pytest.param(FieldMapping("first_name", "gone"), "property", id="a property that is not there"),
        pytest.param(FieldMapping("first_name", "points"), "property", id="types that do not go together"),
        pytest.param(FieldMapping("custom.points", "given"), "direction", id="types that go one way"),
        pytest.param(FieldMapping("custom.points", "score"), "direction", id="a property nobody writes"),
    ],
)
def test_what_does_not_fit_is_left_out_and_told(mapping: FieldMapping, part: str) -> None:
    found = fitted([mapping, FieldMapping("custom.note", "nick")], FIELDS, PROPERTIES)
    assert found.fields.names == ["custom.note"]
    (problem,) = found.problems
    assert f": {part} " in problem


@pytest.mark.parametrize("direction", [TO_CRM, FROM_CRM])
def test_types_that_go_one_way_may_go_that_way(direction: Direction) -> None:
    way = {
        TO_CRM: FieldMapping("custom.points", "given", TO_CRM),
        FROM_CRM: FieldMapping("custom.note", "score", FROM_CRM),
    }
    assert len(fields_of(way[direction]).fields) == 1


def test_a_mapping_that_says_the_same_stays_the_same_and_no_number_is_given_twice() -> None:
    first = Mappings([], 0).changed_to(
        [FieldMapping("first_name", "given"), FieldMapping("custom.note", "nick")]
    )
    assert [each.number for each in first.mappings] == [1, 2]
    second = first.changed_to([FieldMapping("first_name", "given", winner=Winner.CRM)])
    assert ([each.number for each in second.mappings], second.last) == ([1], 2)
    third = second.changed_to(
        [FieldMapping("first_name", "given", TO_CRM), FieldMapping("custom.note", "nick")]
    )
    assert [each.number for each in third.mappings] == [3, 4]


def test_a_field_that_is_mapped_to_another_property_blanks_nothing() -> None:
    before = FieldMapping("first_name", "given", number=1)
    agreed = met(fields_of(before), Agreement(), {"first_name": "Ada"}, {"given": "Ada"}).agreement(
        CONTACT_ID
    )
    after = FieldMapping("first_name", "nick", number=2)
    result = met(fields_of(after), agreed, {"first_name": "Ada"}, {"given": "Ada"})
    assert (result.to_ours, result.to_crm) == ({}, {"first_name": "Ada"})
    # What was agreed upon by the one before is forgotten.
    assert set(result.agreement(CONTACT_ID).fingerprints) == {"email", "2"}


EDITS = st.tuples(st.sampled_from(["ours", "given", "nick"]), st.sampled_from([None, "Ada", "Augusta"]))
MAPPED = st.tuples(st.just("map"), st.sampled_from(["given", "nick"]), st.sampled_from(Direction))


@given(st.lists(EDITS | MAPPED | st.just(("sync",)), max_size=30))
def test_whatever_is_mapped_anew_a_value_is_taken_away_only_where_somebody_took_it_away(
    happenings: list[tuple[Any, ...]],
) -> None:
    held: dict[str, Any] = dict.fromkeys(("ours", "given", "nick"))
    mappings, agreed = Mappings([], 0).changed_to([FieldMapping("first_name", "given")]), Agreement()
    # Who had a value when both last agreed upon one, and has taken it away since.
    had, taken_away = set[str](), set[str]()
    for happening in (*happenings, ("sync",)):
        match happening:
            case ("map", to, direction):
                before, mappings = (
                    mappings,
                    mappings.changed_to([FieldMapping("first_name", to, direction)]),
                )
                if mappings != before:
                    had, taken_away = set(), set()
            case ("sync",):
                (mapped,) = mappings.mappings
                result = met(
                    fields_of(mapped),
                    agreed,
                    {"first_name": held["ours"]},
                    {"given": held["given"], "nick": held["nick"]},
                )
                sides = {"ours": result.to_ours, mapped.property: result.to_crm}
                for side, other in (("ours", mapped.property), (mapped.property, "ours")):
                    if (told := sides[side].get("first_name", held[side])) is None and held[side] is not None:
                        assert other in taken_away
                    held[side] = told
                agreed, taken_away = result.agreement(CONTACT_ID), set()
                had = {side for side in sides if held[side] is not None}
            case (side, value):
                if value is None and side in had:
                    taken_away.add(side)
                held[side] = value


@pytest.mark.parametrize("direction", Direction, ids=lambda direction: direction.value)
def test_who_knows_nothing_yet_blanks_nothing_whichever_way_values_go(direction: Direction) -> None:
    fields = fields_of(FieldMapping("first_name", "given", direction, number=1))
    for ours, theirs in (("Ada", None), (None, "Ada")):
        result = met(fields, Agreement(), {"first_name": ours}, {"given": theirs})
        assert None not in {*result.to_ours.values(), *result.to_crm.values()}


def test_a_value_that_cannot_be_had_keeps_no_other_waiting_and_is_taken_once_it_can() -> None:
    fields = fields_of(
        FieldMapping("first_name", "given", number=1), FieldMapping("custom.note", "nick", number=2)
    )
    first = met(fields, Agreement(), {"first_name": "Ada"}, {"given": "Ada"})
    agreed = first.agreement(CONTACT_ID)
    second = met(fields, agreed, {"first_name": "Ada"}, {"given": "A" * 201, "nick": "Ace"})
    assert (second.to_ours, second.to_crm) == ({"custom.note": "Ace"}, {})
    assert list(second.unfit) == ["first_name"]
    agreed = second.agreement(CONTACT_ID)
    third = met(
        fields, agreed, {"first_name": "Ada", "custom.note": "Ace"}, {"given": "Augusta", "nick": "Ace"}
    )
    assert (third.to_ours, third.to_crm, third.unfit) == ({"first_name": "Augusta"}, {}, {})


def test_a_value_that_the_crm_leaves_out_is_not_taken_for_none() -> None:
    fields = fields_of(FieldMapping("custom.points", "points", number=1))
    agreed = met(fields, Agreement(), {"custom.points": 7}, {"points": None}).agreement(CONTACT_ID)
    record = Record("1", "ada@example.com", {}, False, NOON + timedelta(days=1))
    contact = OurContact(CONTACT_ID, "ada@example.com", {"custom.points": 7}, False, 1)
    result = merge(
        CONTACT_ID, fields.copy_of_contact(contact), fields.copy_of_record(record, ""), agreed, fields.rules
    )
    assert (result.to_ours, result.to_crm) == ({}, {})
    assert result.unfit == {"custom.points": "Points is no number in the CRM."}
