"""Rows of a CSV file (RFC 4180), read from a piece of it, with the line on which each begins.

The standard library's parser does the reading. Around it stands what a file of unknown quality needs: bytes and
lines are counted so that reading may stop behind any row and go on there later, and a row that cannot be read
costs that row alone. A line ends with LF or CRLF; bytes that are not UTF-8 come through as lone surrogates.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass

# A quote that is never closed would swallow the rest of the file; what is longer than this is no row.
MAX_ROW_BYTES = 65_536
MAX_ROW_LINES = 100


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a file: bytes before it, and the number of the line it is on, from 1."""

    offset: int = 0
    line: int = 1
    # The rest of this line belongs to a row that was refused already.
    inside_refused_line: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """A row that could be read; `line` is where it begins."""

    line: int
    cells: list[str]


@dataclass(frozen=True, slots=True)
class UnreadableRow:
    """A row that could not be read, and why."""

    line: int
    message: str


@dataclass(frozen=True, slots=True)
class Passage:
    """The rows between two positions. It ends behind a row; `finished` says that nothing follows it."""

    rows: list[Row | UnreadableRow]
    end: Position
    finished: bool


def read_rows(data: bytes, start: Position, *, delimiter: str, at_end: bool, limit: int) -> Passage:
    """Read up to `limit` rows of `data`, the part of a file that begins at `start`.

    `at_end` says that the file ends with `data`. Otherwise a last row that may go on is left for the next piece, so
    a piece that is no end must be longer than MAX_ROW_BYTES for reading to move on.
    After a row that cannot be read, reading goes on with the line that follows the row's first.
    """
    lines = _Lines(data, start, at_end)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    rows: list[Row | UnreadableRow] = []
    while len(rows) < limit:
        line = lines.begin_row()
        try:
            cells = next(reader)
        except (StopIteration, _Unfinished):
            lines.back_to_row()
            break
        except _TooLong:
            rows.append(UnreadableRow(line, _TOO_LONG))
            lines.skip_first_line()
        except csv.Error as error:
            rows.append(UnreadableRow(line, _explanation(error)))
            lines.skip_first_line()
        else:
            rows.append(Row(line, cells))
    return Passage(rows, lines.position(), finished=at_end and lines.exhausted)


class _Unfinished(Exception):
    pass


class _TooLong(Exception):
    pass


class _Lines(Iterator[str]):
    """The lines of a piece of a file, for the csv module: decoded, counted, and within bounds for each row."""

    def __init__(self, data: bytes, start: Position, at_end: bool) -> None:
        self._data = data
        self._start = start
        self._at_end = at_end
        self._at = self._row_at = 0
        self._line = self._row_line = start.line
        self._inside_refused_line = start.inside_refused_line
        if self._inside_refused_line:
            self.skip_first_line()

    @property
    def exhausted(self) -> bool:
        return self._at == len(self._data)

    def position(self) -> Position:
        return Position(self._start.offset + self._at, self._line, self._inside_refused_line)

    def begin_row(self) -> int:
        """Count from here; answers the line's number."""
        self._row_at, self._row_line = self._at, self._line
        return self._line

    def back_to_row(self) -> None:
        self._at, self._line = self._row_at, self._row_line

    def skip_first_line(self) -> None:
        """Go to the line behind the row's first one, or to the end of the piece if that is not in it."""
        end = self._data.find(b"\n", self._row_at) + 1
        self._inside_refused_line = not end and not self._at_end
        self._at = end or len(self._data)
        self._line = self._row_line + (not self._inside_refused_line)

    def __next__(self) -> str:
        if self._line - self._row_line == MAX_ROW_LINES:
            raise _TooLong
        end = self._data.find(b"\n", self._at) + 1
        if (end or len(self._data)) - self._row_at > MAX_ROW_BYTES:
            raise _TooLong
        if not end:
            if not self._at_end:
                raise _Unfinished
            if self.exhausted:
                raise StopIteration
            end = len(self._data)
        line = self._data[self._at : end].decode("utf-8", "surrogateescape")
        self._at = end
        self._line += 1
        return line


_TOO_LONG = f"The row is longer than {MAX_ROW_BYTES:,} bytes or {MAX_ROW_LINES} lines, or a quote in it is never closed."


def _explanation(error: csv.Error) -> str:
    # The csv module tells its errors apart by their text alone.
    told = str(error)
    if told.startswith("unexpected end of data"):
        return "A quote in the row is never closed."
    if told.startswith("new-line character"):
        return "A carriage return stands inside the row, outside of quotes."
    return "A closing quote is followed by something else than the delimiter or the end of the row."
