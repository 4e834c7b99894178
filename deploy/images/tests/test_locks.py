"""An image has what the tests ran with, and may have the client of a key service beside it."""

import pytest

from deploy.images.building import ROOT
from locks.check import disagreements

LOCKS = {path.stem: path.read_text() for path in (ROOT / "locks").glob("*.txt")}


def test_what_several_locks_pin_is_one_version() -> None:
    assert {"dev", "identity", "aws-kms", "vault-transit"} <= LOCKS.keys()
    assert list(disagreements(LOCKS)) == []


@pytest.mark.parametrize(
    "other", ["a==1.0", "a==1.1 ; sys_platform == 'win32' \\\na==1.0 ; sys_platform != 'win32'"]
)
def test_a_lock_that_pins_another_version_or_one_more_is_found(other: str) -> None:
    assert list(disagreements({"one": "a==1.1\nb==2", "other": other}))
