"""Builds images, labelled with the commit that they are built from."""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from deploy.images.catalog import reference
from deploy.images.engine import Engine

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Commit:
    """What is built."""

    revision: str
    seconds: int
    source: str

    @classmethod
    def of(cls, folder: Path) -> Self:
        """That of a clone; its revision ends in `-dirty` when there is something in the folder that is not committed."""
        described = _git(folder, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
        remote = urlsplit(_git(folder, "config", "--default", "", "remote.origin.url"))
        # A clone's address may hold a password, or be a path that means nothing elsewhere.
        source = f"{remote.scheme}://{remote.hostname}{remote.path}" if remote.hostname else ""
        return cls(described, int(_git(folder, "log", "-1", "--format=%ct")), source)

    @property
    def created(self) -> str:
        """When it was committed, as labels say it."""
        return datetime.fromtimestamp(self.seconds, UTC).isoformat()


@dataclass(frozen=True, slots=True)
class Recipe:
    """What images are made on, and what they are called. `pip` is a pip.conf that names where packages come from, `key_service` whose
    client they have."""

    tag: str
    base: str | None
    builder: str | None
    pip: Path | None
    key_service: str | None
    options: Sequence[str]

    def arguments(self, image: str, commit: Commit) -> list[str]:
        """What the engine's build is told for one image."""
        values = {
            "BUILDER": self.builder or self.base,
            "RUNTIME": self.base,
            "KEY_SERVICE": self.key_service,
            "SOURCE_DATE_EPOCH": str(commit.seconds),
            "SOURCE": commit.source,
            "REVISION": commit.revision,
            "VERSION": self.tag,
            "CREATED": commit.created,
        }
        return [
            *("--file", str(ROOT / "deploy" / "images" / "Dockerfile"), "--target", image),
            *("--tag", reference(image, self.tag)),
            *(f"--build-arg={name}={value}" for name, value in values.items() if value),
            *((f"--secret=id=pip,src={self.pip}",) if self.pip else ()),
            *self.options,
            str(ROOT),
        ]


def build(engine: Engine, recipe: Recipe, images: Sequence[str]) -> None:
    """Build images, one after another. Raises EngineFailed."""
    commit = Commit.of(ROOT)
    for image in images:
        engine.build(recipe.arguments(image, commit))


def _git(folder: Path, *words: str) -> str:
    return subprocess.run(  # noqa: S603 - our own words
        ["git", *words],  # noqa: S607
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
