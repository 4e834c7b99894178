import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.csv_rows import MAX_ROW_BYTES, MAX_ROW_LINES, Position, Row, UnreadableRow, read_rows

START = Position()

# Whatever a spreadsheet may hold. Surrogates are no text, and files cannot hold them.
cells = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from(",;\t\"'\n\r \0é"), max_size=20)
tables = st.lists(st.lists(cells, min_size=1, max_size=5), max_size=20)
delimiters = st.sampled_from([",", ";", "\t"])
# With LF alone the writer leaves a carriage return unquoted, which nobody could tell from a broken row.
manners = st.sampled_from([("\r\n", csv.QUOTE_MINIMAL), ("\r\n", csv.QUOTE_ALL), ("\n", csv.QUOTE_ALL)])


def read(data: bytes, delimiter: str = ",", limit: int = 10_000) -> list[Row | UnreadableRow]:
    passage = read_rows(data, START, delimiter=delimiter, at_end=True, limit=limit)
    assert passage.finished
    assert passage.end.offset == len(data)
    return passage.rows


def written(table: list[list[str]], delimiter: str, manner: tuple[str, int]) -> bytes:
    line_end, quoting = manner
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=delimiter, lineterminator=line_end, quoting=quoting).writerows(table)  # type: ignore[arg-type]
    return file.getvalue().encode()


@given(tables, delimiters, manners)
def test_any_table_is_read_back_with_the_line_of_each_row(
    table: list[list[str]], delimiter: str, manner: tuple[str, int]
) -> None:
    lines = [1 + written(table[:index], delimiter, manner).count(b"\n") for index in range(len(table))]
    rows = read(written(table, delimiter, manner), delimiter)
    assert rows == [Row(line, row) for line, row in zip(lines, table, strict=True)]


@given(tables, delimiters, st.integers(1, 3))
def test_reading_may_stop_behind_any_row_and_go_on_there(
    table: list[list[str]], delimiter: str, limit: int
) -> None:
    data = written(table, delimiter, ("\r\n", csv.QUOTE_MINIMAL))
    rows, position, finished = [], START, False
    while not finished:
        passage = read_rows(data[position.offset :], position, delimiter=delimiter, at_end=True, limit=limit)
        rows += passage.rows
        position, finished = passage.end, passage.finished
    assert rows == read(data, delimiter)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_to_their_end(data: bytes) -> None:
    read(data)


@given(st.binary(max_size=60), st.integers(0, 60))
def test_a_piece_is_read_up_to_the_last_row_that_is_whole_in_it(data: bytes, cut: int) -> None:
    first = read_rows(data[:cut], START, delimiter=",", at_end=False, limit=1000)
    rest = read_rows(data[first.end.offset :], first.end, delimiter=",", at_end=True, limit=1000)
    assert first.rows + rest.rows == read(data)


@pytest.mark.parametrize(
    ("file", "bad_line", "says"),
    [
        (b'a,1\nb,"2\nc,"3"\nd,4\n', 2, "closing quote is followed"),
        (b'a,1\nb,2\nc,3\nd,"4', 4, "never closed"),
        (b"a,1\nb,\r2\nc,3\nd,4\n", 2, "carriage return"),
        (b'a,1\nb,"2"2\nc,3\nd,4\n', 2, "closing quote is followed"),
    ],
)
def test_a_row_that_cannot_be_read_costs_itself_alone(file: bytes, bad_line: int, says: str) -> None:
    rows = read(file)
    (bad,) = [row for row in rows if isinstance(row, UnreadableRow)]
    assert bad.line == bad_line
    assert says in bad.message
    assert {row.line for row in rows if isinstance(row, Row)} == {1, 2, 3, 4} - {bad_line}


def test_a_line_without_an_end_is_refused_once_however_many_pieces_it_fills() -> None:
    piece = b"x" * (MAX_ROW_BYTES + 1)
    first = read_rows(piece, START, delimiter=",", at_end=False, limit=10)
    second = read_rows(piece, first.end, delimiter=",", at_end=False, limit=10)
    last = read_rows(b"xx\na,b\n", second.end, delimiter=",", at_end=True, limit=10)
    assert [type(row) for row in first.rows + second.rows] == [UnreadableRow]
    assert last.rows == [Row(2, ["a", "b"])]
    assert last.finished


def test_a_quote_that_is_never_closed_does_not_swallow_the_file() -> None:
    lines = MAX_ROW_LINES * 3
    rows = read(b'"open\n' + b"a,b\n" * lines)
    assert isinstance(rows[0], UnreadableRow)
    assert rows[1:] == [Row(line, ["a", "b"]) for line in range(2, lines + 2)]


def test_bytes_that_are_not_utf_8_come_through_to_be_judged_by_cell() -> None:
    (row,) = read(b"Andr\xe9,Andr\xc3\xa9\n")
    assert row == Row(1, ["Andr\udce9", "André"])
