"""What an image is made of, from its lock: a bill of materials in CycloneDX, without an engine or a network."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from deploy.images.building import ROOT, Commit
from deploy.images.catalog import reference

_PIN = re.compile(r"(?P<name>[\w.-]+)(?:\[[\w,]+\])?==(?P<version>[^\s;]+)(?: ; (?P<marker>[^\\]+?))? \\")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_WANTED_BY = re.compile(r"#\s+(?:via )?(\S+)(?: \(pyproject\.toml\))?$", re.MULTILINE)
_US = "flownurture"


@dataclass(frozen=True, slots=True)
class Pin:
    """A package that a lock pins: any of its files is one of the hashes."""

    name: str
    version: str
    marker: str | None
    hashes: Sequence[str]
    wanted_by: Sequence[str]


def pins(lock: str) -> Iterator[Pin]:
    """What the text of a lock pins."""
    # A package's own line begins at the margin; its hashes, and what asked for it, are indented below.
    for block in re.split(r"\n(?=\S)", lock.strip()):
        pin = _PIN.match(block)
        if pin is None:
            raise ValueError(f"no pin: {block.partition(chr(10))[0]}")
        wanted_by = [name for name in _WANTED_BY.findall(block) if name != "via"]
        yield Pin(pin["name"], pin["version"], pin["marker"], _HASH.findall(block), wanted_by)


def bill(image: str, version: str, commit: Commit) -> str:
    """The bill of materials of an image, as JSON. That of the same lock at the same commit is the same."""
    lock = (ROOT / "locks" / f"{image}.txt").read_text()
    pinned = list(pins(lock))
    components = {pin.name: _component(pin) for pin in pinned}
    itself = Component(
        name=f"{_US}/{image}",
        version=version,
        type=ComponentType.CONTAINER,
        bom_ref=reference(image, version),
    )
    bom = Bom(
        components=components.values(),
        metadata=BomMetaData(component=itself, timestamp=datetime.fromtimestamp(commit.seconds, UTC)),
        serial_number=uuid5(NAMESPACE_URL, f"{reference(image, version)} {commit.revision} {lock}"),
    )
    known = {**components, _US: itself}
    for name, wanting in known.items():
        bom.register_dependency(wanting, [components[pin.name] for pin in pinned if name in pin.wanted_by])
    return str(JsonV1Dot6(bom).output_as_string(indent=2))


def write(folder: Path, images: Sequence[str], version: str) -> list[Path]:
    """Write the bill of each of these images into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    commit = Commit.of(ROOT)
    written = []
    for image in images:
        path = folder / f"{image}.cdx.json"
        path.write_text(bill(image, version, commit) + "\n")
        written.append(path)
    return written


def _component(pin: Pin) -> Component:
    url = PackageURL("pypi", name=pin.name, version=pin.version)
    return Component(
        name=pin.name,
        version=pin.version,
        type=ComponentType.LIBRARY,
        purl=url,
        bom_ref=url.to_string(),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=each) for each in pin.hashes],
        # What is for another system or Python is locked, too, and not installed.
        scope=ComponentScope.OPTIONAL if pin.marker else ComponentScope.REQUIRED,
        properties=[Property(name="flownurture:where", value=pin.marker)] if pin.marker else [],
    )
