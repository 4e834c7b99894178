"""A mail to an address of ours says which message it is about; nobody else can say it for us."""

from base64 import b64encode
from os import urandom
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.errors import NotFound
from chassis.secret import Secret
from services.sending.signed_addresses import ReturnPaths, UnsubscribeAddresses


def key() -> Secret:
    return Secret(b64encode(urandom(32)).decode())


KEY = key()
OURS = ReturnPaths([KEY])


@given(st.uuids(), st.uuids())
def test_an_address_says_whose_it_is_in_capitals_too(organization: object, message: object) -> None:
    address = OURS.address(organization, message, "mail.test")  # type: ignore[arg-type]
    local, _, domain = address.partition("@")
    assert (len(local), domain) == (64, "mail.test")
    assert OURS.open(address) == OURS.open(address.upper()) == (organization, message)


@pytest.mark.parametrize("place", [0, 30, 63])
def test_a_forged_one_says_nothing(place: int) -> None:
    address = OURS.address(uuid4(), uuid4(), "mail.test")
    changed = "b" if address[place] == "a" else "a"
    with pytest.raises(NotFound):
        OURS.open(address[:place] + changed + address[place + 1 :])


def test_an_address_serves_no_other_purpose() -> None:
    with pytest.raises(NotFound):
        UnsubscribeAddresses([KEY]).open(OURS.address(uuid4(), uuid4(), "mail.test"))


@given(st.text(max_size=80))
def test_no_other_address_is_one(address: str) -> None:
    with pytest.raises(NotFound):
        OURS.open(address)


def test_after_a_rotation_old_ones_are_still_known() -> None:
    old, new, ids = key(), key(), (uuid4(), uuid4())
    address = ReturnPaths([old]).address(*ids, "mail.test")
    assert ReturnPaths([new, old]).open(address) == ids
    with pytest.raises(NotFound):
        ReturnPaths([new]).open(address)
