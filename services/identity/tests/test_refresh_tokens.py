"""Refresh tokens as values."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.errors import Unauthenticated
from services.identity.refresh_tokens import RefreshToken


def test_a_token_is_read_back_from_its_text() -> None:
    token = RefreshToken.mint()
    assert RefreshToken.parse(token.text) == token


@given(st.text(max_size=60))
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(Unauthenticated):
        RefreshToken.parse(text)


@given(st.integers(min_value=0), st.characters())
def test_a_changed_text_is_another_token_or_none(place: int, character: str) -> None:
    token = RefreshToken.mint()
    place %= len(token.text)
    changed = token.text[:place] + character + token.text[place + 1 :]
    if changed == token.text:
        return
    try:
        other = RefreshToken.parse(changed)
    except Unauthenticated:
        return
    assert other.digest != token.digest


def test_a_token_does_not_show_itself() -> None:
    token = RefreshToken.mint()
    assert token.text not in f"{token} {token!r}"


def test_a_successor_follows_from_the_token_and_the_salt_together() -> None:
    token, salt = RefreshToken.mint(), b"\1" * 32
    assert token.successor(salt) == token.successor(salt)
    assert token.successor(salt) != token.successor(b"\2" * 32)
    assert token.successor(salt) != RefreshToken.mint().successor(salt)
