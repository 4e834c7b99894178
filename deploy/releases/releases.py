"""The releases that there are, as `releases.toml` names them."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Release:
    """A version, the commit that it was built from, and the last migration of each schema that it knows."""

    version: str
    commit: str
    migrations: Mapping[str, str]


@cache
def releases() -> tuple[Release, ...]:
    """All of them, the newest last."""
    found = tomllib.loads(Path(__file__).with_name("releases.toml").read_text())["release"]
    return tuple(Release(**each) for each in found)


def last_release() -> Release:
    """The one whose processes run while the next one is rolled out."""
    return releases()[-1]
