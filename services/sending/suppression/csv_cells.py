"""Cells of CSV files (RFC 4180, UTF-8) that a spreadsheet may open without running what they say."""

import csv
from collections.abc import Iterable, Sequence
from io import StringIO

CSV = "text/csv; charset=utf-8"

# What makes a spreadsheet take a text for a formula (OWASP, "CSV Injection").
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def csv_lines(rows: Iterable[Sequence[str]]) -> bytes:
    """The rows as lines of a file."""
    written = StringIO()
    csv.writer(written).writerows([_guarded(cell) for cell in row] for row in rows)
    return written.getvalue().encode()


def unguarded(cell: str) -> str:
    """A cell as it was before `csv_lines` kept a spreadsheet from running it."""
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(_FORMULA) else cell


def _guarded(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_FORMULA) else cell
