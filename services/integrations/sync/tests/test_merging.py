"""Two copies of a contact that are merged become one, whatever has happened to them, and nothing is told twice."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.integrations.sync.merging import (
    Agreement,
    Copy,
    Direction,
    Merge,
    Rule,
    Value,
    Winner,
    fingerprint,
    merge,
)

LINK = UUID(int=7)
NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)
FIELDS = ("first_name", "last_name", "custom.score")

values = st.one_of(st.none(), st.sampled_from(["Ada", "Augusta", "Byron"]), st.integers(0, 3))
copies = st.builds(
    Copy,
    st.fixed_dictionaries(dict.fromkeys(FIELDS, values)),
    st.booleans(),
    st.integers(0, 5).map(lambda minutes: NOON + timedelta(minutes=minutes)),
)
rules_of_all = st.tuples(
    *(st.builds(Rule, st.just(name), st.sampled_from(Direction), st.sampled_from(Winner)) for name in FIELDS)
)


def copy(value: Value, *, opted_out: bool = False, at: int = 0) -> Copy:
    return Copy({"first_name": value}, opted_out, NOON + timedelta(minutes=at))


def agreed_on(value: Value) -> Agreement:
    return Agreement({"first_name": fingerprint(LINK, "first_name", value)})


def merged(ours: Copy, crm: Copy, agreed: Agreement, **how: Direction | Winner) -> Merge:
    return merge(LINK, ours, crm, agreed, [Rule("first_name", **how)])  # type: ignore[arg-type]


def applied(ours: Copy, crm: Copy, result: Merge) -> tuple[Copy, Copy]:
    """Both sides once everything is written."""
    return (
        replace(
            ours, values={**ours.values, **result.to_ours}, opted_out=ours.opted_out or result.opt_out_ours
        ),
        replace(crm, values={**crm.values, **result.to_crm}, opted_out=crm.opted_out or result.opt_out_crm),
    )


@given(copies, copies, rules_of_all)
def test_what_was_merged_has_nothing_left_to_tell(ours: Copy, crm: Copy, rules: tuple[Rule, ...]) -> None:
    first = merge(LINK, ours, crm, Agreement(), rules)
    again = merge(LINK, *applied(ours, crm, first), first.agreement(LINK), rules)
    assert not again.to_ours
    assert not again.to_crm
    assert not again.opt_out_ours
    assert not again.opt_out_crm


@given(copies, copies, copies, copies, st.sampled_from(Winner))
def test_both_sides_have_the_same_after_each_merge_whatever_was_edited_between(
    ours: Copy, crm: Copy, our_edit: Copy, crm_edit: Copy, winner: Winner
) -> None:
    rules = [Rule(name, Direction.BOTH, winner) for name in FIELDS]
    agreed = Agreement()
    for our_copy, crm_copy in ((ours, crm), (our_edit, crm_edit), (our_edit, crm)):
        result = merge(LINK, our_copy, crm_copy, agreed, rules)
        after_ours, after_crm = applied(our_copy, crm_copy, result)
        assert after_ours.values == after_crm.values
        agreed = result.agreement(LINK)


@given(copies, copies, copies, rules_of_all)
def test_no_opt_out_is_ever_taken_back_and_each_reaches_the_other_side(
    ours: Copy, crm: Copy, later: Copy, rules: tuple[Rule, ...]
) -> None:
    first = merge(LINK, ours, crm, Agreement(), rules)
    after_ours, after_crm = applied(ours, crm, first)
    assert after_ours.opted_out == after_crm.opted_out == (ours.opted_out or crm.opted_out)
    # Whatever the CRM says afterwards, who has opted out here stays so.
    second = merge(LINK, after_ours, later, first.agreement(LINK), rules)
    assert applied(after_ours, later, second)[0].opted_out >= after_ours.opted_out


@pytest.mark.parametrize(
    ("ours", "crm", "agreed", "expected"),
    [
        ("Augusta", "Ada", "Ada", (None, "Augusta")),
        ("Ada", "Augusta", "Ada", ("Augusta", None)),
        (None, "Ada", "Ada", (None, None)),
    ],
    ids=["ours alone changed", "the CRM's alone changed", "ours was taken away"],
)
def test_the_side_that_changed_holds_though_the_other_would_win(
    ours: Value, crm: Value, agreed: str, expected: tuple[Value, Value]
) -> None:
    loser = Winner.CRM if crm == agreed else Winner.OURS
    result = merged(copy(ours), copy(crm), agreed_on(agreed), winner=loser)
    if ours is None:
        assert result.to_crm == {"first_name": None}
    else:
        assert (result.to_ours.get("first_name"), result.to_crm.get("first_name")) == expected


@pytest.mark.parametrize(
    ("winner", "ours_at", "expected"),
    [
        (Winner.OURS, 0, "Augusta"),
        (Winner.CRM, 9, "Ada B."),
        (Winner.NEWEST, 0, "Ada B."),
        (Winner.NEWEST, 9, "Augusta"),
    ],
)
def test_where_both_changed_the_rule_of_the_field_decides(
    winner: Winner, ours_at: int, expected: str
) -> None:
    ours, crm = copy("Augusta", at=ours_at), copy("Ada B.", at=5)
    after, _ = applied(ours, crm, merged(ours, crm, agreed_on("Ada"), winner=winner))
    assert after.values["first_name"] == expected


def test_who_has_just_met_fills_in_what_the_other_does_not_know() -> None:
    assert merged(copy(None), copy("Ada"), Agreement(), winner=Winner.OURS).to_ours == {"first_name": "Ada"}
    assert merged(copy("Ada"), copy(None), Agreement(), winner=Winner.CRM).to_crm == {"first_name": "Ada"}


def test_a_field_that_goes_one_way_leaves_the_other_sides_edits_alone() -> None:
    edited_there = merged(copy("Ada"), copy("A."), agreed_on("Ada"), direction=Direction.TO_CRM)
    assert not edited_there.to_ours
    assert not edited_there.to_crm
    changed_here = merged(
        copy("Augusta"), copy("A."), edited_there.agreement(LINK), direction=Direction.TO_CRM
    )
    assert changed_here.to_crm == {"first_name": "Augusta"}


def test_who_came_back_here_is_not_opted_out_again_by_what_the_crm_said_before() -> None:
    opted_out = merged(copy("Ada"), copy("Ada", opted_out=True), Agreement())
    assert opted_out.opt_out_ours
    back = merged(copy("Ada"), copy("Ada", opted_out=True), opted_out.agreement(LINK))
    assert not back.opt_out_ours
    assert not back.opt_out_crm
    # Unset there, and said again.
    unset = merged(copy("Ada"), copy("Ada"), back.agreement(LINK))
    assert merged(copy("Ada"), copy("Ada", opted_out=True), unset.agreement(LINK)).opt_out_ours


def test_a_fingerprint_tells_nothing_of_the_same_value_elsewhere() -> None:
    assert fingerprint(LINK, "first_name", "Ada") != fingerprint(UUID(int=8), "first_name", "Ada")
    assert fingerprint(LINK, "first_name", "Ada") != fingerprint(LINK, "last_name", "Ada")
    assert fingerprint(LINK, "custom.score", 1) != fingerprint(LINK, "custom.score", True)
