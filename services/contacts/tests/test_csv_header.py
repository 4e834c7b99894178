import codecs
from datetime import UTC, datetime

import pytest

from chassis.csv_rows import Position
from chassis.identifiers import new_id
from services.contacts.csv_header import Columns, UnusableFile, read_header
from services.contacts.custom_fields import CustomField, FieldType

USUAL = Columns({}, {})
OURS = ("email", "first_name", "last_name", "tags")
CITY = CustomField(new_id(), 1, "city", "Home town", FieldType.TEXT, [], datetime.now(UTC))


@pytest.mark.parametrize(
    ("file", "delimiter", "columns"),
    [
        (b"email\n", ",", {"email": 0}),
        (b"Email,First Name,Last Name\n", ",", {"email": 0, "first_name": 1, "last_name": 2}),
        (b"last_name;E-Mail;first_name\n", ";", {"email": 1, "first_name": 2, "last_name": 0}),
        (b"Surname\tForename\tE-mail Address\n", "\t", {"email": 2, "first_name": 1, "last_name": 0}),
        (b'"EMAIL","Notes, and more","x;y"\n', ",", {"email": 0}),
        (codecs.BOM_UTF8 + b"email,name\n", ",", {"email": 0}),
        (b" email , firstname \r\n", ",", {"email": 0, "first_name": 1}),
        ("Größe;email\n".encode(), ";", {"email": 1}),
        (b"email", ",", {"email": 0}),
    ],
)
def test_a_header_tells_delimiter_and_columns(file: bytes, delimiter: str, columns: dict[str, int]) -> None:
    header = read_header(file, USUAL, at_end=True)
    assert header.delimiter == delimiter
    assert {name: place for name in OURS if (place := getattr(header, name)) is not None} == columns
    assert header.end == Position(len(file), 2)


def test_lines_before_the_header_may_be_blank() -> None:
    assert read_header(b"\r\n,,\nemail,name,x\na@b.test\n", USUAL, at_end=True).end == Position(18, 4)


@pytest.mark.parametrize(
    ("file", "says"),
    [
        (b"", "The file is empty."),
        (b"\n \n\n", "The file is empty."),
        (codecs.BOM_UTF8, "The file is empty."),
        (
            b"name,address\nx,y\n",
            "header on line 1 has no e-mail column (“email”). It has “name”, “address”.",
        ),
        (b"\n\nada@example.com,Ada\n", "header on line 3 has no e-mail column"),
        ("email\na@b.test".encode("utf-16"), "encoded in UTF-16"),
        ("email\na@b.test".encode("utf-32"), "encoded in UTF-32"),
        ("email\na@b.test".encode("utf-16-le"), "NUL characters"),
        (b"email,pr\xe9nom\n", "line 1 is not UTF-8 at byte 9 of the file"),
        (b'"email,name\na@b.test\n', "line 1 cannot be read. A quote in the row is never closed."),
        (b"email,E-Mail\n", "more than one column for email: email, E-Mail."),
        (b"email,first name,fname\n", "more than one column for first_name: first name, fname."),
        (b"x" * 100_000, "cannot be read. The row is longer than 65,536 bytes"),
    ],
)
def test_a_file_that_cannot_be_imported_says_why(file: bytes, says: str) -> None:
    with pytest.raises(UnusableFile) as refused:
        read_header(file, USUAL, at_end=True)
    assert says in str(refused.value)


def test_columns_are_what_their_owner_says_they_are() -> None:
    told = {"Kontakt": "email", "email": "ignore", "Wohnort": "city", "Rolle": "tags"}
    header = read_header(b"email,Kontakt,Wohnort,Rolle\n", Columns(told, {"city": CITY}), at_end=True)
    assert (header.email, header.tags, header.custom) == (1, 3, [(CITY, 2)])


@pytest.mark.parametrize("name", ["city", "City", "Home town", "home-town"])
def test_a_custom_field_is_known_by_its_key_and_its_label(name: str) -> None:
    header = read_header(f"email,{name}\n".encode(), Columns({}, {"city": CITY}), at_end=True)
    assert header.custom == [(CITY, 1)]


def test_a_column_that_is_told_of_and_not_there_is_named() -> None:
    with pytest.raises(UnusableFile, match="has no column “Wohnort”"):
        read_header(b"email\n", Columns({"Wohnort": "city"}, {"city": CITY}), at_end=True)
