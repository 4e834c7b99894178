"""What a lock pins, as `uv pip compile` writes it."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

US = "flownurture"

_PIN = re.compile(
    r"(?P<name>[\w.-]+)(?:\[[\w,]+\])?==(?P<version>[^\s;]+)(?: ; (?P<marker>[^\\\n]+?))?(?: \\)?$",
    re.MULTILINE,
)
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_WANTED_BY = re.compile(r"#\s+(?:via )?(\S+)(?: \(pyproject\.toml\))?$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Pin:
    """A package that a lock pins: any of its files is one of the hashes. What pyproject.toml asks for is wanted by us."""

    name: str
    version: str
    marker: str | None
    hashes: Sequence[str]
    wanted_by: Sequence[str]


def pins(lock: str) -> Iterator[Pin]:
    """What the text of a lock pins. Raises ValueError where it is none."""
    # A package's own line begins at the margin; its hashes, and what asked for it, are indented below.
    for block in re.split(r"\n(?=\S)", lock.strip()):
        pin = _PIN.match(block)
        if pin is None:
            raise ValueError(f"no pin: {block.partition(chr(10))[0]}")
        wanted_by = [name for name in _WANTED_BY.findall(block) if name != "via"]
        yield Pin(pin["name"], pin["version"], pin["marker"], _HASH.findall(block), wanted_by)
