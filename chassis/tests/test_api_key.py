"""API keys: what is minted parses, and nothing else does."""

import string
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.api_key import ApiKey

KEY_ID = UUID("01936f3e-8f5b-7c3a-9d2e-4b6a8c0d1e2f")


@given(st.uuids())
def test_a_minted_key_parses_to_its_id(key_id: UUID) -> None:
    assert ApiKey.parse(ApiKey.mint(key_id)).key_id == key_id


def test_two_keys_of_one_id_have_different_secrets() -> None:
    one, other = (ApiKey.parse(ApiKey.mint(KEY_ID)) for _ in range(2))
    assert one.secret_digest != other.secret_digest


def test_every_change_of_one_character_is_refused() -> None:
    text = ApiKey.mint(KEY_ID)
    for position, original in enumerate(text):
        for replacement in string.ascii_letters + string.digits + "_-. é":
            if replacement != original:
                with pytest.raises(ValueError, match="not an API key"):
                    ApiKey.parse(text[:position] + replacement + text[position + 1 :])


def test_a_missing_or_added_character_is_refused() -> None:
    text = ApiKey.mint(KEY_ID)
    for position in range(len(text)):
        with pytest.raises(ValueError, match="not an API key"):
            ApiKey.parse(text[:position] + text[position + 1 :])
        with pytest.raises(ValueError, match="not an API key"):
            ApiKey.parse(text[:position] + "a" + text[position:])


@given(st.text())
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not an API key"):
        ApiKey.parse(text)
