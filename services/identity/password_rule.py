"""Which passwords are refused: short ones, the owner's own name or address, and the commonest."""

from functools import cache
from importlib import resources

from chassis.errors import FieldViolation, InvalidRequest
from chassis.secret import Secret

_LEAST_LENGTH = 12


def refuse_weak(password: Secret, *, email: str, names: tuple[str, ...] = ()) -> None:
    """Raise InvalidRequest on field `password` when it is easily guessed."""
    if objection := _objection(password.reveal().casefold().strip(), email.casefold(), names):
        raise InvalidRequest(FieldViolation("password", objection))


def _objection(password: str, email: str, names: tuple[str, ...]) -> str | None:
    if len(password) < _LEAST_LENGTH:
        return f"must be at least {_LEAST_LENGTH} characters long"
    if password in (email, email.partition("@")[0]):
        return "must not be the e-mail address"
    if password in {name.casefold().strip() for name in names}:
        return "must not be a name that is known"
    if password in _commonest() or len(set(password)) < 3:
        return "is among the commonest passwords"
    return None


@cache
def _commonest() -> frozenset[str]:
    text = (resources.files(__package__) / "commonest_passwords.txt").read_text("utf-8")
    return frozenset(text.split())
