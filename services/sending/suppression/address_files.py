"""Addresses out of a CSV file (RFC 4180, UTF-8) of unknown quality: a row that cannot be read costs that row alone."""

from codecs import BOM_UTF8
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from chassis.csv_files import unguarded
from chassis.csv_rows import Position, Row, UnreadableRow, read_rows
from chassis.email_address import EmailAddress

EMAIL = "email"

# More than a row may have.
_PIECE = 256 << 10
_MOST_ROWS_OF_A_PIECE = 1_000
_MOST_EMAIL_CHARACTERS = 320
_DELIMITERS = ",;\t"


@dataclass(frozen=True, slots=True)
class RowError:
    """Why the row that begins on `line` is refused; `field` is empty when the row as a whole is at fault."""

    line: int
    field: str
    message: str


def read_addresses(file: IO[bytes]) -> Iterator[EmailAddress | RowError]:
    """The address of each row, or why there is none: of the column `email`, or of the first one when no column is called so."""
    column: int | None = None
    for row in _rows(file):
        if isinstance(row, UnreadableRow):
            yield RowError(row.line, "", row.message)
        elif column is None and EMAIL in (names := [cell.strip().lower() for cell in row.cells]):
            column = names.index(EMAIL)
        else:
            column = column or 0
            yield _address(row.line, row.cells[column] if column < len(row.cells) else "")


def _rows(file: IO[bytes]) -> Iterator[Row | UnreadableRow]:
    """The rows that are not blank."""
    data = file.read(_PIECE).removeprefix(BOM_UTF8)
    first_line = data.partition(b"\n")[0]
    delimiter = max(_DELIMITERS, key=lambda delimiter: first_line.count(delimiter.encode()))
    place, at_end = Position(), False
    while True:
        passage = read_rows(data, place, delimiter=delimiter, at_end=at_end, limit=_MOST_ROWS_OF_A_PIECE)
        yield from (
            row for row in passage.rows if isinstance(row, UnreadableRow) or any(map(str.strip, row.cells))
        )
        if passage.finished:
            return
        data = data[passage.end.offset - place.offset :]
        place = passage.end
        if len(data) < _PIECE and not at_end:
            more = file.read(_PIECE)
            data, at_end = data + more, not more


def _address(line: int, cell: str) -> EmailAddress | RowError:
    text = unguarded(cell.strip())
    if not text:
        return RowError(line, EMAIL, "is missing")
    if len(text) > _MOST_EMAIL_CHARACTERS:
        return RowError(line, EMAIL, f"must have at most {_MOST_EMAIL_CHARACTERS} characters")
    # As what is no UTF-8 comes out of `read_rows`.
    if not text.isascii() and any("\udc80" <= letter <= "\udcff" for letter in text):
        return RowError(line, EMAIL, "is not UTF-8")
    try:
        return EmailAddress.parse(text)
    except ValueError as error:
        return RowError(line, EMAIL, str(error))
