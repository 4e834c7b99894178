"""What is sealed opens in its own place, with a key that is still known, and nowhere else."""

from base64 import b64encode
from os import urandom
from uuid import uuid4

import pytest
from cryptography.exceptions import InvalidTag

from chassis.sealing import Sealer
from chassis.secret import Secret


def key() -> Secret:
    return Secret(b64encode(urandom(32)).decode())


def test_what_is_sealed_opens_in_its_place_and_is_not_to_be_seen() -> None:
    sealer, row = Sealer("identity", {"a": key()}), uuid4()
    sealed = sealer.seal(b"plain words", table="t", row=row, column="c")
    assert b"plain" not in sealed
    assert sealer.open(sealed, table="t", row=row, column="c") == b"plain words"


@pytest.mark.parametrize("elsewhere", [{"table": "u"}, {"row": uuid4()}, {"column": "d"}])
def test_what_is_moved_does_not_open(elsewhere: dict[str, object]) -> None:
    sealer, place = Sealer("identity", {"a": key()}), {"table": "t", "row": uuid4(), "column": "c"}
    sealed = sealer.seal(b"plain", **place)  # type: ignore[arg-type]
    with pytest.raises(InvalidTag):
        sealer.open(sealed, **place | elsewhere)  # type: ignore[arg-type]


def test_after_a_rotation_the_old_still_opens_and_the_new_seals() -> None:
    old, new, row = key(), key(), uuid4()
    sealed = Sealer("identity", {"old": old}).seal(b"plain", table="t", row=row, column="c")
    rotated = Sealer("identity", {"new": new, "old": old})
    assert rotated.open(sealed, table="t", row=row, column="c") == b"plain"
    again = rotated.seal(b"plain", table="t", row=row, column="c")
    assert Sealer("identity", {"new": new}).open(again, table="t", row=row, column="c") == b"plain"
    with pytest.raises(KeyError):
        Sealer("identity", {"new": new}).open(sealed, table="t", row=row, column="c")
