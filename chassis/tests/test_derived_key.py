"""Derived keys: each is at most what it was derived from, and nobody makes one otherwise."""

import hmac
import string
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from hashlib import sha256
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.api_key import ApiKey
from chassis.derived_key import LONGEST_TEXT, MOST_RESTRICTIONS, DerivedKey, chain_key, derive

KEY_ID = UUID("01936f3e-8f5b-7c3a-9d2e-4b6a8c0d1e2f")
KEY = ApiKey.mint(KEY_ID)
SCOPES = ("campaigns:read", "contacts:read", "contacts:write", "messages:write", "suppressions:read")
NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)

# What any holder may append, whatever it makes of the whole.
_LINES = st.one_of(
    st.lists(st.sampled_from(SCOPES), min_size=1, max_size=3).map(lambda some: f"scopes {','.join(some)}"),
    st.integers(1, 10**12 - 1).map(lambda seconds: f"expires {seconds}"),
)


def forged(parent: DerivedKey, lines: Sequence[str]) -> DerivedKey:
    """What the holder of a derived key can add to it without asking `derive`, which would refuse to widen."""
    signature = parent.signature
    for line in lines:
        signature = hmac.digest(signature, line.encode(), sha256)
    return DerivedKey(parent.key_id, (*parent.restrictions, *lines), signature)


def test_a_derived_key_says_what_it_is_narrowed_to_and_is_signed_from_its_key() -> None:
    text = derive(KEY, scopes=["contacts:write", "contacts:read"], expires_at=NOON)
    key = DerivedKey.parse(text)
    assert text.startswith(f"fnk_derived_{KEY_ID.hex}_")
    assert key.key_id == KEY_ID
    assert key.restrictions == ("scopes contacts:read,contacts:write", "expires 1780315200")
    assert key.scopes == frozenset(("contacts:read", "contacts:write"))
    assert key.expires_at == NOON.timestamp()
    assert key.is_signed_from(chain_key(KEY))


def test_the_same_derivation_gives_the_same_text() -> None:
    berlin = NOON.astimezone(timezone(timedelta(hours=2)))
    one = derive(KEY, scopes=["contacts:read", "messages:write"], expires_at=NOON)
    assert one == derive(KEY, scopes={"messages:write", "contacts:read"}, expires_at=berlin)


def test_nothing_of_the_keys_secret_is_in_a_derived_key() -> None:
    secret = KEY.rpartition("_")[2]
    derived = derive(KEY, scopes=["contacts:read"])
    assert not any(secret[start : start + 8] in derived for start in range(len(secret) - 7))
    assert DerivedKey.parse(derived).signature != chain_key(KEY)


def test_what_prints_a_derived_key_does_not_print_its_signature() -> None:
    key = DerivedKey.parse(derive(KEY, scopes=["contacts:read"]))
    assert repr(key.signature) not in repr(key)


def test_a_key_that_is_narrowed_in_one_way_is_not_narrowed_in_the_other() -> None:
    assert DerivedKey.parse(derive(KEY, scopes=["contacts:read"])).expires_at is None
    assert DerivedKey.parse(derive(KEY, expires_at=NOON)).scopes is None


def test_from_a_derived_key_a_narrower_one_is_derived() -> None:
    parent = derive(KEY, scopes=["contacts:read", "contacts:write"], expires_at=NOON)
    child = DerivedKey.parse(derive(parent, scopes=["contacts:read"], expires_at=NOON - timedelta(minutes=1)))
    assert child.scopes == frozenset(("contacts:read",))
    assert child.expires_at == NOON.timestamp() - 60
    assert child.is_signed_from(chain_key(KEY))


def test_a_derived_key_is_not_widened() -> None:
    parent = derive(KEY, scopes=["contacts:read"], expires_at=NOON)
    with pytest.raises(ValueError, match="scopes that its parent lacks"):
        derive(parent, scopes=["contacts:read", "contacts:write"])
    with pytest.raises(ValueError, match="outlive its parent"):
        derive(parent, expires_at=NOON + timedelta(seconds=1))


@given(st.lists(_LINES, max_size=MOST_RESTRICTIONS - 2))
def test_whatever_is_added_to_a_derived_key_it_is_genuine_and_no_wider(lines: list[str]) -> None:
    parent = DerivedKey.parse(derive(KEY, scopes=SCOPES[:3], expires_at=NOON))
    child = DerivedKey.parse(forged(parent, lines).text)
    assert child.is_signed_from(chain_key(KEY))
    assert child.scopes is not None
    assert child.scopes <= frozenset(SCOPES[:3])
    assert child.expires_at is not None
    assert child.expires_at <= NOON.timestamp()


@given(st.lists(_LINES, min_size=1, max_size=MOST_RESTRICTIONS - 1), st.data())
def test_a_chain_that_lacks_changes_or_moves_a_link_is_not_genuine(
    lines: list[str], data: st.DataObject
) -> None:
    first = DerivedKey.parse(derive(KEY, scopes=SCOPES))
    genuine = forged(first, lines)
    others = st.lists(_LINES, min_size=1, max_size=MOST_RESTRICTIONS).map(tuple)
    other = data.draw(others | st.permutations(genuine.restrictions).map(tuple))
    shorter = data.draw(st.integers(1, len(genuine.restrictions)))
    for restrictions in (other, genuine.restrictions[:shorter], genuine.restrictions[-shorter:]):
        claimed = replace(genuine, restrictions=restrictions)
        assert claimed.is_signed_from(chain_key(KEY)) == (restrictions == genuine.restrictions)


def test_a_key_is_not_derived_from_another_keys_secret() -> None:
    other = ApiKey.mint(KEY_ID)
    assert not DerivedKey.parse(derive(other, scopes=["contacts:read"])).is_signed_from(chain_key(KEY))


def test_every_change_of_one_character_is_refused() -> None:
    text = derive(KEY, scopes=["contacts:read"], expires_at=NOON)
    for position, original in enumerate(text):
        for replacement in string.ascii_letters + string.digits + "_-. é":
            if replacement != original:
                with pytest.raises(ValueError, match="not a derived key"):
                    DerivedKey.parse(text[:position] + replacement + text[position + 1 :])


def test_a_missing_or_added_character_is_refused() -> None:
    text = derive(KEY, scopes=["contacts:read"])
    for position in range(len(text)):
        for changed in (text[:position] + text[position + 1 :], text[:position] + "A" + text[position:]):
            with pytest.raises(ValueError, match="not a derived key"):
                DerivedKey.parse(changed)


@given(
    st.text() | st.from_regex(r"fnk_derived_[0-9a-f]{32}_[0-9A-Za-z_-]+_[0-9A-Za-z_-]{49}", fullmatch=True)
)
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a derived key"):
        DerivedKey.parse(text)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "scopes ",
        "scopes contacts",
        "scopes contacts:admin",
        "scopes contacts:read,",
        "scopes contacts:read contacts:write",
        "scopes *",
        "expires ",
        "expires 0",
        "expires 01",
        "expires -1",
        "expires 1.5",
        "expires ٣",
        "expires 1000000000000",
        "organization 1",
        "scopes contacts:read\nexpires 1",
    ],
)
def test_a_restriction_that_says_nothing_known_is_refused_by_itself_and_in_a_text(line: str) -> None:
    with pytest.raises(ValueError, match="not a derived key"):
        DerivedKey(KEY_ID, (line,), bytes(32))


def test_what_is_no_derivation_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to narrow"):
        derive(KEY)
    for scopes in ([], ["contacts"], ["contacts:read\nexpires 1"]):
        with pytest.raises(ValueError, match="not a derived key"):
            derive(KEY, scopes=scopes)
    with pytest.raises(ValueError, match="time zone"):
        derive(KEY, expires_at=NOON.replace(tzinfo=None))
    with pytest.raises(ValueError, match="not an API key"):
        derive(KEY[:-1], scopes=["contacts:read"])


def test_a_chain_has_at_most_eight_restrictions() -> None:
    text = KEY
    for minute in range(MOST_RESTRICTIONS):
        text = derive(text, expires_at=NOON - timedelta(minutes=minute))
    with pytest.raises(ValueError, match="not a derived key"):
        derive(text, expires_at=NOON - timedelta(hours=1))


def test_a_derived_key_has_at_most_2048_characters() -> None:
    many = [f"{'a' * 20}{letter}:read" for letter in string.ascii_lowercase]
    text = derive(derive(KEY, scopes=many), scopes=many[:15])
    assert len(text) <= LONGEST_TEXT
    with pytest.raises(ValueError, match="2,048"):
        derive(text, scopes=many[:14])
