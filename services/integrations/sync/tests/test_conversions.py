"""What goes both ways comes back as it went, or is refused; and what is read is a value that its field may have."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.integrations.crm import records
from services.integrations.crm.records import Choice, Kind, Property
from services.integrations.sync.conversions import conversion
from services.integrations.sync.merging import Direction, Value
from services.integrations.sync.our_fields import FieldType, OurField

# Labels that two have, that another has as its value, that are empty, or that hold what separates several.
CHOICES = (
    Choice("lead", "Lead"),
    Choice("12", "Customer "),
    Choice("13", "Fan"),
    Choice("14", "Fan"),
    Choice("cold", "12"),
    Choice("odd", "Here; there"),
    Choice("none", ""),
)

texts = st.text(max_size=60)
OURS: dict[FieldType, st.SearchStrategy[Value]] = {
    FieldType.NAME: texts,
    FieldType.TEXT: texts | st.sampled_from([each.label for each in CHOICES] + ["Lead; Customer"]),
    FieldType.NUMBER: st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False),
    FieldType.BOOLEAN: st.booleans(),
    FieldType.DATE: st.dates().map(date.isoformat),
    FieldType.CHOICE: st.sampled_from(["Lead", "Customer", "lead", "Fan"]),
    FieldType.TIME_ZONE: st.sampled_from(["Europe/Berlin", "UTC"]),
}
THEIRS: dict[Kind, st.SearchStrategy[records.Value]] = {
    Kind.TEXT: st.text(max_size=300) | st.sampled_from(["Europe/Berlin", "Lead", "a\x00b", "x" * 1_001]),
    Kind.NUMBER: st.decimals(allow_nan=False, allow_infinity=False)
    | st.sampled_from([Decimal("1e400"), Decimal("1e999999999"), Decimal("-0"), Decimal("1e-400")]),
    Kind.YES_NO: st.booleans(),
    Kind.DATE: st.dates(),
    Kind.MOMENT: st.datetimes(timezones=st.timezones()) | st.just(datetime.min.replace(tzinfo=UTC)),
    Kind.CHOICE: st.sampled_from([each.value for each in CHOICES] + ["gone", "Lead"]),
    Kind.CHOICES: st.lists(st.sampled_from([each.value for each in CHOICES] + ["gone"]), unique=True).map(
        tuple
    ),
}


def field(kind: FieldType) -> OurField:
    choices = ("Lead", "Customer", "lead", "Fan") if kind is FieldType.CHOICE else ()
    return OurField("custom.x", "X", kind, choices, {FieldType.NAME: 200, FieldType.TEXT: 1_000}.get(kind, 0))


def property_of(kind: Kind) -> Property:
    return Property("x", "X", kind, choices=CHOICES if kind in (Kind.CHOICE, Kind.CHOICES) else ())


def pairs(direction: Direction) -> list[tuple[FieldType, Kind]]:
    return [
        (ours, theirs)
        for ours in FieldType
        for theirs in Kind
        if conversion(field(ours), property_of(theirs)).goes(direction)
    ]


def names(given_pairs: Sequence[tuple[FieldType, Kind]]) -> list[str]:
    return [f"{ours}-{theirs}" for ours, theirs in given_pairs]


@pytest.mark.parametrize(("ours", "theirs"), pairs(Direction.BOTH), ids=names(pairs(Direction.BOTH)))
@settings(max_examples=40)
@given(data=st.data())
def test_a_value_that_went_there_comes_back_as_it_was(ours: FieldType, theirs: Kind, data: Any) -> None:
    between = conversion(field(ours), property_of(theirs))
    try:
        value = between.field.fitting(data.draw(OURS[ours]))
        there = between.theirs(value)
    except ValueError:
        return
    back = between.ours(there)
    if theirs is Kind.CHOICES:
        # As a set: the CRM has an order of its own, and each once.
        assert (
            set(str(back or "").split("; "))
            == {part.strip() for part in str(value or "").split(";") if part.strip()}
            or back is None
        )
        assert between.ours(between.theirs(back)) == back
    else:
        assert back == value


@pytest.mark.parametrize(("ours", "theirs"), pairs(Direction.FROM_CRM), ids=names(pairs(Direction.FROM_CRM)))
@settings(max_examples=40)
@given(data=st.data())
def test_what_is_read_is_a_value_of_the_field_or_is_refused(ours: FieldType, theirs: Kind, data: Any) -> None:
    between = conversion(field(ours), property_of(theirs))
    try:
        value = between.ours(data.draw(THEIRS[theirs]))
    except ValueError:
        return
    assert between.field.fitting(value) == value
    assert type(between.field.fitting(value)) is type(value)


@pytest.mark.parametrize(("ours", "theirs"), pairs(Direction.TO_CRM), ids=names(pairs(Direction.TO_CRM)))
@settings(max_examples=40)
@given(data=st.data())
def test_what_is_written_is_of_the_propertys_kind_or_is_refused(
    ours: FieldType, theirs: Kind, data: Any
) -> None:
    between = conversion(field(ours), property_of(theirs))
    try:
        value = between.theirs(between.field.fitting(data.draw(OURS[ours])))
    except ValueError:
        return
    kinds: dict[Kind, type] = {
        Kind.NUMBER: Decimal,
        Kind.YES_NO: bool,
        Kind.DATE: date,
        Kind.MOMENT: datetime,
        Kind.CHOICES: tuple,
    }
    assert value is None or isinstance(value, kinds.get(theirs, str))


def test_choices_are_what_people_read_unless_two_could_be_meant() -> None:
    between = conversion(field(FieldType.TEXT), property_of(Kind.CHOICE))
    read = {each.value: between.ours(each.value) for each in CHOICES}
    assert read == {
        "lead": "Lead",
        "12": "Customer",
        "13": "13",
        "14": "14",
        "cold": "cold",
        "odd": "odd",
        "none": "none",
    }
    with pytest.raises(ValueError, match="is none of the CRM's choices"):
        between.theirs("Unheard of")


def test_nothing_is_nothing_on_either_side() -> None:
    for ours, theirs in pairs(Direction.BOTH):
        between = conversion(field(ours), property_of(theirs))
        assert between.ours(None) is None
        assert between.theirs(None) is None
