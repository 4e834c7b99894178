"""Addresses out of a CSV file (RFC 4180, UTF-8) of unknown quality: a row that cannot be read costs that row alone."""

import csv
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from chassis.csv_files import unguarded
from chassis.email_address import EmailAddress

EMAIL = "email"

# A quote that is never closed would swallow the rest of the file; what is longer than this is no row.
_MOST_ROW_BYTES = 65_536
_MOST_ROW_LINES = 100
_MOST_EMAIL_CHARACTERS = 320
_DELIMITERS = ",;\t"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class RowError:
    """Why the row that begins on `line` is refused; `field` is empty when the row as a whole is at fault."""

    line: int
    field: str
    message: str


def read_addresses(file: IO[bytes]) -> Iterator[EmailAddress | RowError]:
    """The address of each row, or why there is none: of the column `email`, or of the first one when no column is called so."""
    lines = _Lines(file)
    reader = csv.reader(lines, delimiter=lines.delimiter, strict=True)
    column: int | None = None
    for row in _rows(lines, reader):
        if isinstance(row, RowError):
            yield row
        elif column is None and EMAIL in (names := [cell.strip().lower() for cell in row]):
            column = names.index(EMAIL)
        else:
            column = column or 0
            yield _address(lines.row_at, row[column] if column < len(row) else "")


def _rows(lines: "_Lines", reader: Iterator[list[str]]) -> Iterator[list[str] | RowError]:
    while True:
        lines.begin_row()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except (csv.Error, UnicodeDecodeError, _TooLong) as error:
            lines.refuse()
            yield RowError(lines.row_at, "", _explanation(error))
        else:
            if any(cell.strip() for cell in cells):
                yield cells


def _address(line: int, cell: str) -> EmailAddress | RowError:
    text = unguarded(cell.strip())
    if not text:
        return RowError(line, EMAIL, "is missing")
    if len(text) > _MOST_EMAIL_CHARACTERS:
        return RowError(line, EMAIL, f"must have at most {_MOST_EMAIL_CHARACTERS} characters")
    try:
        return EmailAddress.parse(text)
    except ValueError as error:
        return RowError(line, EMAIL, str(error))


class _TooLong(Exception):
    pass


class _Lines(Iterator[str]):
    """The lines of a file, for the csv module: decoded, counted, and within bounds for each row."""

    def __init__(self, file: IO[bytes]) -> None:
        first = file.readline(_MOST_ROW_BYTES + 1 + len(_BYTE_ORDER_MARK)).removeprefix(_BYTE_ORDER_MARK)
        self.delimiter = max(_DELIMITERS, key=lambda delimiter: first.count(delimiter.encode()))
        self.row_at = 1
        self._file = file
        self._again = deque([first])
        self._row: list[bytes] = []

    def begin_row(self) -> None:
        self.row_at += len(self._row)
        self._row.clear()

    def refuse(self) -> None:
        """Read on with the line that follows the row's first."""
        self._again.extendleft(reversed(self._row[1:]))
        del self._row[1:]
        if not self._row[0].endswith(b"\n"):
            self._skip_line()

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else self._file.readline(_MOST_ROW_BYTES + 1)
        if not line:
            raise StopIteration
        self._row.append(line)
        if len(self._row) > _MOST_ROW_LINES or sum(map(len, self._row)) > _MOST_ROW_BYTES:
            raise _TooLong
        return line.decode()

    def _skip_line(self) -> None:
        # Piece by piece: a line may be as long as its file.
        while (rest := self._file.readline(_MOST_ROW_BYTES)) and not rest.endswith(b"\n"):
            pass


def _explanation(error: Exception) -> str:
    match error:
        case UnicodeDecodeError():
            return "The row is not in UTF-8."
        case _TooLong():
            return (
                f"The row is longer than {_MOST_ROW_BYTES:,} bytes or {_MOST_ROW_LINES} lines, "
                "or a quote in it is never closed."
            )
    return "A quote in the row is not closed, or followed by something else than the delimiter."
