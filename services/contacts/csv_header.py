"""What the first row of a CSV file tells: the encoding, the delimiter, and which columns are ours."""

import codecs
from dataclasses import dataclass
from typing import Literal, get_args

from services.contacts.csv_rows import Position, Row, UnreadableRow, read_rows

Field = Literal["email", "first_name", "last_name"]

# Names of columns as people's tools write them, in lower case with spaces for hyphens and underscores.
_ALIASES: dict[str, Field] = {
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
}
_DELIMITERS = (",", ";", "\t")
_FOREIGN_MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}


class UnusableFile(Exception):
    """Nothing of the file can be imported; the message tells its owner why."""


@dataclass(frozen=True, slots=True)
class Header:
    """How to read the rows: `columns` tells where our fields stand among `width` cells, `end` where rows begin."""

    delimiter: str
    width: int
    columns: dict[Field, int]
    end: Position


def read_header(data: bytes, *, at_end: bool) -> Header:
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
    row, end, delimiter = max(readings, key=lambda reading: _likelihood(reading[0]))
    return Header(delimiter, len(row.cells), _columns(row), end)


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


def _likelihood(row: Row) -> tuple[bool, int]:
    return "email" in map(_field_of, row.cells), len(row.cells)


def _field_of(name: str) -> Field | None:
    return _ALIASES.get(" ".join(name.lower().replace("-", " ").replace("_", " ").split()))


def _columns(row: Row) -> dict[Field, int]:
    fields = [_field_of(cell) for cell in row.cells]
    if "email" not in fields:
        found = ", ".join(f"“{cell.strip()[:50]}”" for cell in row.cells[:10])
        raise UnusableFile(f"The header on line {row.line} has no e-mail column (“email”). It has {found}.")
    for field in get_args(Field):
        if fields.count(field) > 1:
            named = [cell.strip()[:50] for cell in row.cells if _field_of(cell) == field]
            raise UnusableFile(
                f"The header on line {row.line} has more than one column for {field}: {', '.join(named)}."
            )
    return {field: index for index, field in enumerate(fields) if field is not None}
