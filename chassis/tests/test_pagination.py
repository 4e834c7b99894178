"""Pages: a cursor names the last id, and nothing else is a cursor."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.errors import InvalidRequest
from chassis.pagination import decode_cursor, encode_cursor, page_size


@given(st.uuids())
def test_a_cursor_names_the_last_id_of_its_page(last_id: UUID) -> None:
    assert decode_cursor(encode_cursor(last_id)) == last_id


def test_the_first_page_has_no_cursor() -> None:
    assert decode_cursor("") is None


@given(st.text(min_size=1))
def test_any_other_text_is_refused_by_its_field(token: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        decode_cursor(token)
    assert [violation.field for violation in refused.value.violations] == ["page_token"]


@given(st.uuids(), st.integers(0, 21), st.characters())
def test_no_other_spelling_of_a_cursor_is_one(last_id: UUID, position: int, character: str) -> None:
    token = encode_cursor(last_id)
    other = token[:position] + character + token[position + 1 :]
    try:
        assert decode_cursor(other) != last_id or other == token
    except InvalidRequest:
        assert other != token


@pytest.mark.parametrize(("requested", "size"), [(0, 50), (1, 1), (500, 500), (501, 500), (2**31 - 1, 500)])
def test_a_page_has_the_size_asked_for_within_bounds(requested: int, size: int) -> None:
    assert page_size(requested) == size
