"""Which passwords are refused: short ones, and those that are guessed within a million tries.

How many tries a password takes is what zxcvbn (Wheeler, USENIX Security 2016) says: it knows the thirty thousand commonest
passwords of breaches, names and words, their usual disguises, dates, repetitions and rows of keys. Who the person is, and what
this place is called, are words that a guesser tries first. No rule asks for kinds of characters (NIST SP 800-63B §5.1.1.2).
"""

import asyncio

from zxcvbn import zxcvbn

from chassis.errors import FieldViolation, InvalidRequest
from chassis.secret import Secret

_LEAST_LENGTH = 12
# The score from which on guessing over a network that counts attempts is hopeless: 10^6 tries.
_LEAST_SCORE = 2
# What follows after this many characters can only make it stronger, and would take long to look at.
_LOOKED_AT = 64
# Words that belong to this place (OWASP ASVS 6.1.2): see docs/authentication.md.
_OURS = (
    "flownurture",
    "flow",
    "nurture",
    "newsletter",
    "campaign",
    "admin",
    "marketing",
    "organization",
    "workspace",
)


async def refuse_weak(password: Secret, *, email: str, names: tuple[str, ...] = ()) -> None:
    """Raise InvalidRequest on field `password` when it is easily guessed."""
    if objection := await asyncio.to_thread(_objection, password.reveal(), email, names):
        raise InvalidRequest(FieldViolation("password", objection))


def _objection(password: str, email: str, names: tuple[str, ...]) -> str | None:
    password = password.strip()
    if len(password) < _LEAST_LENGTH:
        return f"must be at least {_LEAST_LENGTH} characters long"
    known = [email, *email.split("@"), *names, *(word for name in names for word in name.split()), *_OURS]
    guessed = zxcvbn(password[:_LOOKED_AT], user_inputs=known)
    if guessed["score"] < _LEAST_SCORE:
        return "is too easily guessed: common, made of known names, or a simple pattern"
    return None
