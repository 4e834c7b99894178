"""Lists as parameters arrive as they were, whatever is in them."""

from collections.abc import AsyncIterator
from datetime import UTC
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.types.array import ListDumper

from chassis.arrays import ArrayDumper

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
SPECIAL = st.sampled_from(["", " ", "NULL", "null", '"', "\\", '","', "{", "}", ",", '\\"', "'", "\n", "é"])


def all_of(elements: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(elements, max_size=8) | st.lists(st.none() | elements, max_size=8)


@pytest.fixture(scope="module")
async def connection(servers: Any) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    async with await psycopg.AsyncConnection.connect(servers.admin_database_url) as connection:
        connection.adapters.register_dumper(list, ArrayDumper)
        yield connection


@pytest.mark.parametrize(
    ("of", "elements"),
    [
        ("uuid", st.uuids()),
        ("text", TEXTS | SPECIAL),
        ("bytea", st.binary(max_size=8)),
        ("bigint", st.integers(-9, 9)),
        ("timestamptz", st.datetimes(timezones=st.just(UTC))),
        ("timestamp", st.datetimes()),
        ("boolean", st.booleans()),
    ],
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_a_list_arrives_as_it_was(
    connection: psycopg.AsyncConnection[Any], of: str, elements: st.SearchStrategy[Any], data: st.DataObject
) -> None:
    given_list = data.draw(all_of(elements))
    found = await connection.execute(f"SELECT CAST(%s AS {of}[])", (given_list,))
    (arrived,) = (await found.fetchone()) or (None,)
    assert arrived == given_list


def test_no_element_speaks_for_the_others() -> None:
    for mixed in ([UUID(int=1), "a"], ["a", b"a"], [None, None], [[UUID(int=1)]], []):
        assert ArrayDumper(list).dump(mixed) == ListDumper(list).dump(mixed)


async def test_a_text_with_a_zero_is_refused(connection: psycopg.AsyncConnection[Any]) -> None:
    with pytest.raises(psycopg.DataError):
        await connection.execute("SELECT CAST(%s AS text[])", (["a", "b\0"],))
