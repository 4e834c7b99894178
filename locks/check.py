"""Check that locks/ pins what pyproject.toml asks for, without a network: `python -m locks.check`.

Every extra that has a lock finds each of its packages there, pinned in a version that fits, with hashes; nothing is
locked that is no longer asked for; and no lock says where packages come from. What several locks pin is one version, so
that an image can take two of them, and has what the tests ran with. `make lock` mends it.
"""

import re
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from locks.pins import US, pins

ROOT = Path(__file__).parents[1]
ADDRESS = re.compile(r"https?://|^-", re.MULTILINE)


def asked_for(project: dict[str, list[str]], extra: str) -> Iterator[Requirement]:
    """What an extra asks for, with what the extras of ours that it names ask for."""
    for line in project[extra]:
        requirement = Requirement(line)
        if requirement.name == US:
            for inner in requirement.extras:
                yield from asked_for(project, inner)
        else:
            yield requirement


def problems(lock: str, wanted: list[Requirement]) -> Iterator[str]:
    """What is wrong with the text of one lock, a sentence each."""
    pinned = {canonicalize_name(pin.name): pin for pin in pins(lock)}
    names = {canonicalize_name(requirement.name): requirement.specifier for requirement in wanted}
    for name, specifier in names.items():
        if (pin := pinned.get(name)) is None:
            yield f"{name} is not locked"
        elif not specifier.contains(pin.version, prereleases=True):
            yield f"{name} is locked at {pin.version}, which is not {specifier}"
    for name, pin in pinned.items():
        if not pin.hashes:
            yield f"{name} has no hash"
        if US in pin.wanted_by and name not in names:
            yield f"{name} is locked and no longer asked for"
    if ADDRESS.search(lock):
        yield "says where packages come from"


def disagreements(locks: Mapping[str, str]) -> Iterator[str]:
    """Packages that some of these locks pin in other versions than others do, a sentence each."""
    found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for lock, text in locks.items():
        for pin in pins(text):
            found[pin.name][lock].add(pin.version)
    for name, by_lock in sorted(found.items()):
        # One lock may have several versions of a package, for several systems: then so must the others.
        if len({frozenset(versions) for versions in by_lock.values()}) > 1:
            told = ", ".join(
                f"{' and '.join(sorted(versions))} in {lock}" for lock, versions in by_lock.items()
            )
            yield f"{name} is locked at {told}"


def main() -> int:
    """Print what is wrong; 0 when nothing is."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    every_process = [Requirement(line) for line in project["dependencies"]]
    locks = {path.stem: path.read_text() for path in sorted((ROOT / "locks").glob("*.txt"))}
    wrong = [
        f"locks/{extra}.txt: {problem}"
        for extra, lock in locks.items()
        for problem in problems(lock, [*every_process, *asked_for(extras, extra)])
    ]
    wrong += [f"locks: {problem}" for problem in disagreements(locks)]
    if wrong:
        print(*wrong, "Run make lock.", sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
