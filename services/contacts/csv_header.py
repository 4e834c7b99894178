"""What the first row of a CSV file tells: the encoding, the delimiter, and which columns are ours."""

import codecs
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from chassis.csv_rows import Position, Row, UnreadableRow, read_rows
from services.contacts.custom_fields import CustomField
from services.contacts.jobs import Unworkable

# What a column may be beside the key of a custom field.
OWN = ("email", "first_name", "last_name", "time_zone", "tags")
IGNORE = "ignore"

# Names of columns as people's tools write them, in lower case with spaces for hyphens and underscores.
_ALIASES = {
    "email": "email",
    "e mail": "email",
    "mail": "email",
    "emailaddress": "email",
    "email address": "email",
    "e mail address": "email",
    "first name": "first_name",
    "firstname": "first_name",
    "given name": "first_name",
    "forename": "first_name",
    "fname": "first_name",
    "last name": "last_name",
    "lastname": "last_name",
    "family name": "last_name",
    "surname": "last_name",
    "lname": "last_name",
    "time zone": "time_zone",
    "timezone": "time_zone",
    "tags": "tags",
}
_DELIMITERS = (",", ";", "\t")
_FOREIGN_MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}


class UnusableFile(Unworkable):
    """Nothing of the file can be imported; the message tells its owner why."""


@dataclass(frozen=True, slots=True)
class Header:
    """How to read the rows: where what we know stands among `width` cells, and where rows begin."""

    delimiter: str
    width: int
    email: int
    # Where there is such a column.
    first_name: int | None
    last_name: int | None
    time_zone: int | None
    tags: int | None
    custom: Sequence[tuple[CustomField, int]]
    end: Position


class Columns:
    """What the columns of a file are: as their owner says, else by their usual names, and those of custom fields."""

    def __init__(self, told: Mapping[str, str], fields: Mapping[str, CustomField]) -> None:
        self.fields = fields
        self.told = {name.strip(): meant for name, meant in told.items()}
        self._known = (
            {_folded(field.label): field.key for field in fields.values()}
            | {_folded(key): key for key in fields}
            | _ALIASES
        )

    def meaning(self, name: str) -> str | None:
        """Which of ours the column of that name is; None for one that is ignored."""
        told = self.told.get(name.strip())
        meant = self._known.get(_folded(name)) if told is None else told
        return None if meant == IGNORE or not (meant in OWN or meant in self.fields) else meant


def read_header(data: bytes, columns: Columns, *, at_end: bool) -> Header:
    """Read the header from the file's first bytes, more than csv_rows.MAX_ROW_BYTES of them unless the file ends there.

    The delimiter is the one under which the row has an e-mail column and the most columns. Raises UnusableFile.
    """
    for mark, encoding in _FOREIGN_MARKS.items():
        if data.startswith(mark):
            raise UnusableFile(f"The file is encoded in {encoding}. Save it as UTF-8.")
    start = Position(len(codecs.BOM_UTF8) if data.startswith(codecs.BOM_UTF8) else 0)
    readings: list[tuple[Row, Position, str]] = []
    unusable: list[UnusableFile] = []
    for delimiter in _DELIMITERS:
        try:
            readings.append(_read_first_row(data, start, delimiter, at_end))
        except UnusableFile as reason:
            unusable.append(reason)
    if not readings:
        raise unusable[0]
    row, end, delimiter = max(readings, key=lambda reading: _likelihood(reading[0], columns))
    places = _places(row, columns)
    return Header(
        delimiter,
        len(row.cells),
        places["email"],
        places.get("first_name"),
        places.get("last_name"),
        places.get("time_zone"),
        places.get("tags"),
        [(field, places[key]) for key, field in columns.fields.items() if key in places],
        end,
    )


def _read_first_row(data: bytes, start: Position, delimiter: str, at_end: bool) -> tuple[Row, Position, str]:
    """The first row that is not blank, and where it ends."""
    while True:
        passage = read_rows(data[start.offset :], start, delimiter=delimiter, at_end=at_end, limit=1)
        match passage.rows:
            case []:
                raise UnusableFile("The file is empty.")
            case [UnreadableRow(line, message)]:
                raise UnusableFile(f"The header on line {line} cannot be read. {message}")
            case [Row(line, cells) as row] if "".join(cells).strip():
                _refuse_what_is_no_text(data, start, line, cells)
                return row, passage.end, delimiter
        start = passage.end


def _refuse_what_is_no_text(data: bytes, start: Position, line: int, cells: list[str]) -> None:
    text = "".join(cells)
    if "\0" in text:
        raise UnusableFile(f"The header on line {line} holds NUL characters. Save the file as UTF-8.")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            place = _first_undecodable(data[start.offset :]) + start.offset + 1
            raise UnusableFile(
                f"The header on line {line} is not UTF-8 at byte {place:,} of the file. Save it as UTF-8."
            ) from None


def _first_undecodable(data: bytes) -> int:
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return error.start
    return 0


def _likelihood(row: Row, columns: Columns) -> tuple[bool, int]:
    return "email" in map(columns.meaning, row.cells), len(row.cells)


def _folded(name: str) -> str:
    return " ".join(name.lower().replace("-", " ").replace("_", " ").split())


def _places(row: Row, columns: Columns) -> dict[str, int]:
    meanings = [columns.meaning(cell) for cell in row.cells]
    if missing := set(columns.told) - {cell.strip() for cell in row.cells}:
        named = ", ".join(f"“{name[:50]}”" for name in sorted(missing)[:10])
        raise UnusableFile(
            f"The header on line {row.line} has no column {named}, of which it was told what it is."
        )
    if "email" not in meanings:
        found = ", ".join(f"“{cell.strip()[:50]}”" for cell in row.cells[:10])
        raise UnusableFile(f"The header on line {row.line} has no e-mail column (“email”). It has {found}.")
    for meaning in filter(None, meanings):
        if meanings.count(meaning) > 1:
            same = [cell.strip()[:50] for cell in row.cells if columns.meaning(cell) == meaning]
            raise UnusableFile(
                f"The header on line {row.line} has more than one column for {meaning}: {', '.join(same)}."
            )
    return {meaning: index for index, meaning in enumerate(meanings) if meaning is not None}
