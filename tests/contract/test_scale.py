"""docs/scale.md says what the model computes, from the costs that were measured."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.scale.model import Assumptions, Demand, measured_costs
from bench.scale.page import with_tables

PAGE = Path(__file__).parents[2] / "docs/scale.md"


def test_the_page_shows_what_follows_from_the_measured_costs() -> None:
    assert with_tables(PAGE.read_text(), measured_costs(), Assumptions.read()) == PAGE.read_text()


def test_another_assumption_shows_on_the_page() -> None:
    busier = replace(Assumptions.read(), peak=4.0)
    assert with_tables(PAGE.read_text(), measured_costs(), busier) != PAGE.read_text()


def test_a_page_without_a_place_for_the_tables_is_refused() -> None:
    with pytest.raises(ValueError, match="has no <!--"):
        with_tables("# Scale\n", measured_costs(), Assumptions.read())


@given(st.integers(1_000_000, 500_000_000), st.integers(2, 10))
def test_so_many_times_the_mail_takes_so_many_times_as_much(volume: int, times: int) -> None:
    one, many = (
        Demand(messages, measured_costs(), Assumptions.read()) for messages in (volume, volume * times)
    )
    assert many.cores("delivery") == pytest.approx(times * one.cores("delivery"))
    assert all(many.engines[name] == pytest.approx(times * asked) for name, asked in one.engines.items())
    assert one.cells <= many.cells <= times * one.cells


@given(st.integers(1_000_000, 10_000_000_000))
def test_the_cells_are_as_many_as_no_engine_of_one_is_full(volume: int) -> None:
    demand = Demand(volume, measured_costs(), Assumptions.read())
    assert max(map(demand.share, demand.engines)) <= demand.cells < 1 + max(map(demand.share, demand.engines))
