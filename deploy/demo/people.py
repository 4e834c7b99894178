"""The CSV file of the demo: a thousand good rows, and a few that are not."""

import csv
import io
from dataclasses import dataclass

PEOPLE = 1000
_FIRST_NAMES = ("Ada", "Björn", "Chloé", "Dmitri", "Esi", "Farid", "Grace", "Hana", "Iñigo", "Jun")
_LAST_NAMES = (
    "Adeyemi",
    "Brandt",
    "Castillo",
    "Dvořák",
    "Eriksen",
    "Fontaine",
    "Ōta",
    "Haddad",
    "Ito",
    "Jansen",
)


@dataclass(frozen=True, slots=True)
class PeopleFile:
    """The file, and what an import of it must say."""

    content: bytes
    readers: list[str]
    bouncing: str
    bad_lines: list[int]
    duplicates: int


def people_file(run: str) -> PeopleFile:
    """People that no other run has. One of them has a mailbox that does not exist."""
    bouncing = f"bounce+{run}@example.test"
    readers = [f"reader{number:04}.{run}@example.test" for number in range(1, PEOPLE)]
    rows = [
        (email, _FIRST_NAMES[number % 10], _LAST_NAMES[number // 10 % 10])
        for number, email in enumerate([*readers, bouncing])
    ]
    bad_rows = {250: ("reader-without-a-host", "No", "Address"), 750: ("", "Nobody", "")}
    for place, row in bad_rows.items():
        rows.insert(place, row)
    rows.append((readers[0].upper(), "Ada", "Again"))
    text = io.StringIO()
    csv.writer(text).writerows([("email", "first_name", "last_name"), *rows])
    # The header is line 1, the row at place 0 line 2.
    return PeopleFile(text.getvalue().encode(), readers, bouncing, [place + 2 for place in bad_rows], 1)
