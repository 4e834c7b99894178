"""Reads the Dockerfile as a builder does: what each target is made of."""

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[3]
DOCKERFILE = ROOT / "deploy" / "images" / "Dockerfile"


@dataclass
class Stage:
    """One stage: its instructions, and the one that it begins from."""

    name: str
    parent: str
    instructions: list[tuple[str, str]] = field(default_factory=list)

    def all(self, instruction: str) -> list[list[str]]:
        """The words of each such instruction."""
        return [shlex.split(words) for name, words in self.instructions if name == instruction]


def stages() -> dict[str, Stage]:
    """Every stage by its name."""
    found: dict[str, Stage] = {}
    for instruction, words in _instructions():
        if instruction == "FROM":
            parent, _, name = words.split()
            found[name] = Stage(name, parent)
        elif found:
            list(found.values())[-1].instructions.append((instruction, words))
    return found


def targets(read: Mapping[str, Stage]) -> set[str]:
    """The stages that are images: made on the runtime, and no other is made on them."""
    return {name for name, stage in read.items() if stage.parent == "runtime"}


def sources(read: Mapping[str, Stage], target: str) -> set[Path]:
    """The files that an image has from the repository, as paths in it."""
    stage: Stage | None = read[f"{target}-sources"]
    copied: set[Path] = set()
    while stage is not None:
        for *froms, _ in stage.all("COPY"):
            copied.update(file for name in froms for file in _files(name))
        stage = read.get(stage.parent)
    return copied - {Path("deploy/images/settle")}


def locks(read: Mapping[str, Stage], target: str) -> list[str]:
    """The locks whose packages an image has."""
    copied = read[f"{target}-packages"].all("COPY")
    return [Path(name).stem for *froms, _ in copied for name in froms]


@cache
def _files(name: str) -> tuple[Path, ...]:
    path = ROOT / name
    found = [path] if path.is_file() else [each for each in path.rglob("*.*") if each.suffix != ".pyc"]
    return tuple(
        file.relative_to(ROOT) for file in found if file.is_file() and is_sent(file.relative_to(ROOT))
    )


def is_sent(path: Path) -> bool:
    """Whether .dockerignore lets a file through: its last line that fits decides."""
    sent = True
    for line in _ignored():
        pattern = line.removeprefix("!")
        places = [path, *path.parents[:-1]]
        if any(_fits(place.as_posix(), pattern) for place in places):
            sent = line.startswith("!")
    return sent


@cache
def _ignored() -> list[str]:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


@cache
def _fits(place: str, pattern: str) -> bool:
    if pattern.startswith("**/"):
        return fnmatch(place.rpartition("/")[2], pattern.removeprefix("**/"))
    return place.count("/") == pattern.count("/") and fnmatch(place, pattern)


def _instructions() -> Iterator[tuple[str, str]]:
    text = DOCKERFILE.read_text().replace("\\\n", " ")
    for line in text.splitlines():
        if line and not line.startswith("#"):
            instruction, _, words = line.partition(" ")
            yield instruction, words.strip()
