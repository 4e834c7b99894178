"""Names of people whom a CRM does not let be without one: their address stands in for it, and is no name when it is read."""

import re

_ADDRESS = re.compile(r"\S+@\S+")


def stand_in(email: str, longest: int) -> str:
    """What to write in place of a name, at most so many characters."""
    return email[:longest]


def is_stand_in(name: str) -> bool:
    """Whether it is an address, that of now or one from before."""
    return _ADDRESS.fullmatch(name) is not None
