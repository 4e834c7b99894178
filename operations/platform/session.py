"""Who the operator is to the platform: a token that is given, or a log-in that is kept in a file of theirs alone."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self


class NotLoggedIn(Exception):
    """There is neither a token nor a log-in."""


@dataclass(frozen=True, slots=True)
class Session:
    """A log-in at a platform. A token that was given has nothing to be refreshed with."""

    url: str
    access_token: str
    refresh_token: str = ""

    @classmethod
    def current(cls) -> Self:
        """FLOWNURTURE_TOKEN at FLOWNURTURE_URL, else the log-in that was kept. Raises NotLoggedIn."""
        token, url = os.environ.get("FLOWNURTURE_TOKEN"), os.environ.get("FLOWNURTURE_URL")
        if token and url:
            return cls(url, token)
        if token:
            raise NotLoggedIn("FLOWNURTURE_TOKEN is set, and FLOWNURTURE_URL does not say where it is good.")
        try:
            return cls(**json.loads(_file().read_text()))
        except FileNotFoundError:
            raise NotLoggedIn("Log in with `flownurture login`, or set FLOWNURTURE_TOKEN.") from None

    def keep(self) -> None:
        """Keep it where nobody else reads it."""
        _file().parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        unfinished = _file().with_suffix(".unfinished")
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(asdict(self), file)
        unfinished.replace(_file())

    @staticmethod
    def forget() -> None:
        """Keep none."""
        _file().unlink(missing_ok=True)


def _file() -> Path:
    folder = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(folder, "flownurture", "session.json")
