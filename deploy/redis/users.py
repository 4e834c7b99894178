"""The users of Redis as its ACL file has them: each process may touch its own keys by the commands it uses, and no more."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files

from chassis.secret import Secret

ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class User:
    """A process that speaks to Redis: patterns of the keys that it touches, and the commands by which."""

    name: str
    keys: tuple[str, ...]
    commands: tuple[str, ...]


@cache
def user_list() -> tuple[User, ...]:
    """Read the list."""
    listed = tomllib.loads(files(__package__).joinpath("users.toml").read_text())
    return tuple(User(name, tuple(user["keys"]), tuple(user["commands"])) for name, user in listed.items())


def user_names() -> tuple[str, ...]:
    """Everybody who has a password: the administrator, and each process on the list."""
    return (ADMIN, *(user.name for user in user_list()))


def render_users(passwords: Mapping[str, Secret]) -> str:
    """An ACL file, with digests in place of passwords. `passwords` has one for each process and for `admin`."""
    lines = [
        "user default off",
        f"user {ADMIN} on {_digest(passwords[ADMIN])} ~* &* +@all",
        *(_line(user, passwords[user.name]) for user in user_list()),
    ]
    return "\n".join(lines) + "\n"


def _line(user: User, password: Secret) -> str:
    keys = (f"~{pattern}" for pattern in user.keys)
    commands = (f"+{command}" for command in user.commands)
    # A server may be set up to let new users hear every channel.
    return " ".join(("user", user.name, "on", _digest(password), "resetchannels", *keys, "-@all", *commands))


def _digest(password: Secret) -> str:
    return f"#{sha256(password.reveal().encode()).hexdigest()}"
