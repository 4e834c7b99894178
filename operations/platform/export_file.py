"""All that the platform holds of an organization, as a ZIP: JSON lines by service and table, and a manifest that says what there is."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from hashlib import sha256
from itertools import groupby
from typing import IO
from zipfile import ZIP_DEFLATED, ZipFile

from operations.platform.api import Json, NoAnswer

FORMAT = 1
MANIFEST = "manifest.json"

# Told how many bytes have come.
Tell = Callable[[int], None]


class CutOff(NoAnswer):
    """The answer ended before it was whole, or is not what it says it is."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What one file of it holds. The SHA-256 is of its lines, as they are when unpacked."""

    rows: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Exported:
    """What there is of an organization, by `service/table.jsonl`, and what of each service was left out and why."""

    organization_id: str
    exported_at: datetime
    # What tables and columns are called goes with the revisions.
    revisions: Mapping[str, str]
    files: Mapping[str, Contents]
    left_out: Mapping[str, Mapping[str, str]]

    @property
    def row_count(self) -> int:
        """The rows of all tables."""
        return sum(contents.rows for contents in self.files.values())

    def facts(self) -> Json:
        """As the manifest says it."""
        return asdict(self) | {"format": FORMAT, "exported_at": self.exported_at.isoformat()}


def write_export(organization_id: str, pieces: Iterable[bytes], target: IO[bytes], tell: Tell) -> Exported:
    """Write what the platform answers with, as it comes. Raises CutOff; what was written until then is no export."""
    exported_at, files, whole = datetime.now(UTC), {}, None
    with ZipFile(target, "w", ZIP_DEFLATED) as archive:
        for name, lines in groupby(_lines(pieces, tell), key=_file_of):
            if name == MANIFEST:
                whole = next(lines)["whole"]
            else:
                with archive.open(name, "w", force_zip64=True) as file:
                    files[name] = _written(lines, file)
        exported = _checked(organization_id, exported_at, files, whole)
        for name in exported.files.keys() - files.keys():
            archive.writestr(name, b"")
        archive.writestr(MANIFEST, json.dumps(exported.facts(), indent=2))
    return exported


def _lines(pieces: Iterable[bytes], tell: Tell) -> Iterator[Json]:
    size, rest = 0, b""
    for piece in pieces:
        size += len(piece)
        tell(size)
        # Characters that end lines elsewhere may stand in what people have written.
        *lines, rest = (rest + piece).split(b"\n")
        yield from map(_read, lines)
    if rest:
        raise CutOff("The answer was cut off in the midst of a line.")


def _read(line: bytes) -> Json:
    try:
        read: Json = json.loads(line)
    except ValueError:
        raise CutOff("The answer is no export: is that the platform?") from None
    return read


def _file_of(line: Json) -> str:
    return MANIFEST if "whole" in line else f"{line['service']}/{line['table']}.jsonl"


def _written(lines: Iterable[Json], file: IO[bytes]) -> Contents:
    rows, digest = 0, sha256()
    for line in lines:
        written = json.dumps(line["row"], ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        digest.update(written)
        file.write(written)
        rows += 1
    return Contents(rows, digest.hexdigest())


def _checked(
    organization_id: str, exported_at: datetime, files: Mapping[str, Contents], whole: Json | None
) -> Exported:
    if whole is None:
        raise CutOff("The answer was cut off before its end.")
    told = {
        f"{service}/{table}.jsonl": rows
        for service, facts in whole.items()
        for table, rows in facts["rows"].items()
    }
    if {name: contents.rows for name, contents in files.items()} != {
        name: n for name, n in told.items() if n
    }:
        raise CutOff("The answer has not got as many rows as it says.")
    empty = Contents(0, sha256().hexdigest())
    return Exported(
        organization_id,
        exported_at,
        {service: facts["revision"] for service, facts in whole.items()},
        {name: files.get(name, empty) for name in sorted(told)},
        {service: facts["left_out"] for service, facts in whole.items()},
    )
