"""Check that locks/ pins what pyproject.toml asks for, without a network: `python locks/check.py`.

Every extra that has a lock finds each of its packages there, pinned in a version that fits, with hashes; nothing is
locked that is no longer asked for; and no lock says where packages come from. `make lock` mends it.
"""

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
ASKED_BY_US = re.compile(r"# +(via +)?flownurture \(pyproject\.toml\)")
ADDRESS = re.compile(r"https?://|^-", re.MULTILINE)


def asked_for(project: dict[str, list[str]], extra: str) -> Iterator[Requirement]:
    """What an extra asks for, with what the extras of ours that it names ask for."""
    for line in project[extra]:
        requirement = Requirement(line)
        if requirement.name == "flownurture":
            for inner in requirement.extras:
                yield from asked_for(project, inner)
        else:
            yield requirement


def problems(lock: str, wanted: list[Requirement]) -> Iterator[str]:
    """What is wrong with the text of one lock, a sentence each."""
    # A package's own line begins at the margin; its hashes, and what asked for it, are indented below.
    pins = {
        canonicalize_name(block.partition("==")[0]): block for block in re.split(r"\n(?=\S)", lock.strip())
    }
    names = {canonicalize_name(requirement.name): requirement.specifier for requirement in wanted}
    for name, specifier in names.items():
        version = pins.get(name, "").partition("==")[2].split(maxsplit=1)[:1]
        if not version:
            yield f"{name} is not locked"
        elif not specifier.contains(version[0], prereleases=True):
            yield f"{name} is locked at {version[0]}, which is not {specifier}"
    for name, block in pins.items():
        if "--hash=sha256:" not in block:
            yield f"{name} has no hash"
        if ASKED_BY_US.search(block) and name not in names:
            yield f"{name} is locked and no longer asked for"
    if ADDRESS.search(lock):
        yield "says where packages come from"


def main() -> int:
    """Print what is wrong; 0 when nothing is."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    every_process = [Requirement(line) for line in project["dependencies"]]
    wrong = [
        f"locks/{lock.name}: {problem}"
        for lock in sorted((ROOT / "locks").glob("*.txt"))
        for problem in problems(lock.read_text(), [*every_process, *asked_for(extras, lock.stem)])
    ]
    if wrong:
        print(*wrong, "Run make lock.", sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
