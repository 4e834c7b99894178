"""What an image is made of, from its lock: a bill of materials in CycloneDX, without an engine or a network."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from deploy.images.building import ROOT, Commit
from deploy.images.catalog import locks_of, reference
from locks.pins import US, Pin, pins


def bill(image: str, version: str, commit: Commit, key_service: str | None) -> str:
    """The bill of materials of an image, as JSON. That of the same locks at the same commit is the same."""
    locks = [(ROOT / "locks" / f"{lock}.txt").read_text() for lock in locks_of(image, key_service)]
    pinned = _together(locks)
    components = {pin.name: _component(pin) for pin in pinned}
    itself = Component(
        name=f"{US}/{image}",
        version=version,
        type=ComponentType.CONTAINER,
        bom_ref=reference(image, version),
    )
    bom = Bom(
        components=components.values(),
        metadata=BomMetaData(component=itself, timestamp=datetime.fromtimestamp(commit.seconds, UTC)),
        serial_number=uuid5(NAMESPACE_URL, f"{reference(image, version)} {commit.revision} {''.join(locks)}"),
    )
    known = {**components, US: itself}
    for name, wanting in known.items():
        bom.register_dependency(wanting, [components[pin.name] for pin in pinned if name in pin.wanted_by])
    return str(JsonV1Dot6(bom).output_as_string(indent=2))


def write(folder: Path, images: Sequence[str], version: str, key_service: str | None) -> list[Path]:
    """Write the bill of each of these images into a folder, as they are made for this key service."""
    folder.mkdir(parents=True, exist_ok=True)
    commit = Commit.of(ROOT)
    written = []
    for image in images:
        path = folder / f"{image}.cdx.json"
        path.write_text(bill(image, version, commit, key_service) + "\n")
        written.append(path)
    return written


def _together(locks: Sequence[str]) -> list[Pin]:
    """What locks pin, which agree: each package once, for all that want it."""
    found: dict[str, Pin] = {}
    for pin in (pin for lock in locks for pin in pins(lock)):
        known = found.get(pin.name, pin)
        found[pin.name] = replace(
            known,
            marker=known.marker and pin.marker,
            wanted_by=list(dict.fromkeys([*known.wanted_by, *pin.wanted_by])),
        )
    return list(found.values())


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
