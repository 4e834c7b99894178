"""Writing CSV (RFC 4180, UTF-8) that a spreadsheet may open without running what a cell says."""

import csv
from collections.abc import Iterable, Sequence
from io import StringIO

CSV = "text/csv; charset=utf-8"

# What makes a spreadsheet take a text for a formula (OWASP, "CSV Injection").
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def csv_lines(rows: Iterable[Sequence[object]]) -> bytes:
    """The rows as lines of a file."""
    written = StringIO()
    csv.writer(written).writerows([_cell(value) for value in row] for row in rows)
    return written.getvalue().encode()


def unguarded(cell: str) -> str:
    """A cell as it was before `csv_lines` kept a spreadsheet from running it."""
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(_FORMULA) else cell


def _cell(value: object) -> object:
    if isinstance(value, str) and value.startswith(_FORMULA):
        return "'" + value
    return value
