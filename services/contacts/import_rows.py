"""From a row of a file to a person, or to the reason why it is none."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from chassis.csv_files import unguarded
from chassis.csv_rows import Position, Row, UnreadableRow, read_rows
from chassis.email_address import EmailAddress
from chassis.identifiers import new_id
from services.contacts.csv_header import Header
from services.contacts.custom_fields import parse_text
from services.contacts.names import parse_name
from services.contacts.time_zones import parse_time_zone

_MOST_EMAIL_CHARACTERS = 320
_LONGEST_TAG = 100
_MOST_TAGS = 100
# Bytes that are not UTF-8, as csv_rows decodes them.
_UNDECODED = re.compile("[\udc80-\udcff]")


@dataclass(frozen=True, slots=True)
class Person:
    """A row that can become a contact. What it leaves empty it does not know: None for a name or zone, no value of a field."""

    line: int
    email: EmailAddress
    first_name: str | None = None
    last_name: str | None = None
    time_zone: str | None = None
    # Of custom fields, by their numbers.
    values: Mapping[str, object] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    # Which contact it will be, unless there is one.
    id: UUID = field(default_factory=new_id)


@dataclass(frozen=True, slots=True)
class RowError:
    """Why the row that begins on `line` is refused; `field` is empty when the row as a whole is at fault."""

    line: int
    field: str
    message: str


@dataclass(frozen=True, slots=True)
class Chunk:
    """What stands between two positions of a file. Every row is counted once: as a person, an error or a duplicate."""

    people: list[Person]
    errors: list[RowError]
    duplicates: int
    end: Position
    finished: bool

    @property
    def rows(self) -> int:
        """How many rows were read; blank ones do not count."""
        return len(self.people) + len(self.errors) + self.duplicates


def read_chunk(data: bytes, start: Position, header: Header, *, at_end: bool, limit: int) -> Chunk:
    """Read up to `limit` rows of `data`, which begins at `start`; see `read_rows` for how much it must be."""
    passage = read_rows(data, start, delimiter=header.delimiter, at_end=at_end, limit=limit)
    people: dict[bytes, Person] = {}
    errors: list[RowError] = []
    duplicates = 0
    for row in passage.rows:
        match _judge(row, header):
            case Person() as person if person.email.digest in people:
                duplicates += 1
            case Person() as person:
                people[person.email.digest] = person
            case RowError() as error:
                errors.append(error)
    return Chunk(list(people.values()), errors, duplicates, passage.end, passage.finished)


def _judge(row: Row | UnreadableRow, header: Header) -> Person | RowError | None:
    """What the row is; None for a blank one, which spreadsheets like to leave behind."""
    if isinstance(row, UnreadableRow):
        return RowError(row.line, "", row.message)
    if not "".join(row.cells).strip():
        return None
    if len(row.cells) != header.width:
        return RowError(row.line, "", f"The row has {len(row.cells)} cells, the header {header.width}.")
    place = "email"
    try:
        email = _email(row.cells[header.email])
        place = "first_name"
        first_name = _name(row, header.first_name)
        place = "last_name"
        last_name = _name(row, header.last_name)
        place = "time_zone"
        time_zone = _time_zone(row, header.time_zone)
        place = "tags"
        tags = () if header.tags is None else _tags(row.cells[header.tags])
        values: dict[str, object] = {}
        for custom, index in header.custom:
            place = custom.key
            if cell := row.cells[index].strip():
                _refuse_undecoded(cell)
                values[str(custom.number)] = parse_text(custom, unguarded(cell))
    except ValueError as error:
        return RowError(row.line, place, str(error))
    return Person(row.line, email, first_name, last_name, time_zone, values, tags)


def _email(cell: str) -> EmailAddress:
    _refuse_undecoded(cell)
    if not cell.strip():
        raise ValueError("is missing")
    if len(cell) > _MOST_EMAIL_CHARACTERS:
        raise ValueError(f"may have at most {_MOST_EMAIL_CHARACTERS} characters")
    return EmailAddress.parse(unguarded(cell.strip()))


def _name(row: Row, index: int | None) -> str | None:
    if index is None or not (cell := row.cells[index]):
        return None
    _refuse_undecoded(cell)
    return parse_name(unguarded(cell)) or None


def _time_zone(row: Row, index: int | None) -> str | None:
    return None if index is None else parse_time_zone(row.cells[index]) or None


def _tags(cell: str) -> tuple[str, ...]:
    """The names in a cell, separated by commas or semicolons."""
    if not cell:
        return ()
    _refuse_undecoded(cell)
    names = [parse_name(name) for name in unguarded(cell).replace(";", ",").split(",")]
    tags = tuple(dict.fromkeys(name for name in names if name))
    if len(tags) > _MOST_TAGS:
        raise ValueError(f"may have at most {_MOST_TAGS} tags")
    if any(len(name) > _LONGEST_TAG for name in tags):
        raise ValueError(f"may have tags of at most {_LONGEST_TAG} characters")
    return tags


def _refuse_undecoded(cell: str) -> None:
    if not cell.isascii() and _UNDECODED.search(cell):
        raise ValueError("is not UTF-8")
