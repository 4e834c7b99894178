"""What a sync lets pass as a value of one of our fields is what the contacts service keeps, to the letter."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.identifiers import new_id
from services.contacts import custom_fields
from services.contacts.custom_fields import CustomField, parse_value
from services.contacts.names import parse_name
from services.contacts.time_zones import parse_time_zone
from services.integrations.sync.merging import Value
from services.integrations.sync.our_fields import FieldType, OurField

CHOICES = ("red", "blue")
texts = st.text(max_size=300) | st.sampled_from(["a\x00b", "a\nb", " Ada ", "\t", "x" * 1_001, "\u2028"])
VALUES: st.SearchStrategy[Value] = (
    st.none()
    | texts
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.dates().map(str)
    | st.sampled_from([*CHOICES, "Europe/Berlin", "Factory", "2026-1-1", "20260131", "2026-W05-1"])
)


@pytest.mark.parametrize("kind", list(custom_fields.FieldType), ids=lambda kind: kind.value)
@given(value=VALUES)
def test_a_value_that_fits_a_custom_field_is_kept_as_it_is(
    kind: custom_fields.FieldType, value: Value
) -> None:
    choices = CHOICES if kind is custom_fields.FieldType.CHOICE else ()
    kept_as = CustomField(new_id(), 1, "x", "X", kind, choices, datetime.now(UTC))
    ours = OurField("custom.x", "X", FieldType(kind.value), choices, custom_fields.LONGEST_TEXT)
    try:
        fitting = ours.fitting(value)
    except ValueError:
        return
    kept = parse_value(kept_as, fitting)
    assert (kept, type(kept)) == (fitting, type(fitting))


@given(value=texts)
def test_a_name_that_fits_is_kept_as_it_is(value: str) -> None:
    ours = OurField("first_name", "First name", FieldType.NAME, (), 200)
    try:
        fitting = ours.fitting(value)
    except ValueError:
        return
    assert parse_name(str(fitting or "")) == (fitting or "")


@given(value=VALUES)
def test_a_time_zone_that_fits_is_kept_as_it_is(value: Value) -> None:
    ours = OurField("time_zone", "Time zone", FieldType.TIME_ZONE)
    try:
        fitting = ours.fitting(value)
    except ValueError:
        return
    assert parse_time_zone(str(fitting or "")) == (fitting or "")
