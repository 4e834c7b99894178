"""E-mail addresses: what is one, and which two are the same."""

import re

import pytest
from email_validator import EmailNotValidError, validate_email
from hypothesis import given
from hypothesis import strategies as st

from chassis.email_address import EmailAddress


def parse(text: str) -> EmailAddress:
    return EmailAddress.parse(text)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ada@example.com", "ADA@EXAMPLE.COM"),
        ("ada@example.com", "  ada@example.com\n"),
        ("ada@bücher.example", "ada@xn--bcher-kva.example"),
        ("ada@BÜCHER.example", "Ada@xn--bcher-kva.EXAMPLE"),
        ("jürgen@example.com", "JÜRGEN@example.com"),
        ("ju\u0308rgen@example.com", "jürgen@example.com"),
    ],
)
def test_spellings_of_one_mailbox_share_a_digest(one: str, other: str) -> None:
    assert parse(one).digest == parse(other).digest


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a.da@example.com", "ada@example.com"),
        ("ada+news@example.com", "ada@example.com"),
        ("ada@example.com", "ada@example.org"),
        ("ada@mail.example.com", "ada@example.com"),
    ],
)
def test_different_mailboxes_do_not(one: str, other: str) -> None:
    assert parse(one).digest != parse(other).digest


def test_the_local_part_stays_as_written_and_the_domain_is_normalized() -> None:
    assert parse("Ada.Lovelace@Example.COM").text == "Ada.Lovelace@example.com"


def test_the_digest_is_sha_256() -> None:
    assert parse("Ada@Example.com").digest.hex() == (
        "b5fc85e55755f9e0d030a10ab4429b6b2944855f9a0d60077fe832becbc41d72"
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ada",
        "@example.com",
        "ada@",
        "ada@localhost",
        "ada@127.0.0.1",
        "ada@[127.0.0.1]",
        "ada@exa mple.com",
        "ada@example..com",
        "ada@-example.com",
        "ada@example.com\nBcc: eve@example.com",
        "ada@example.com\x00",
        "Ada <ada@example.com>",
        "ada@example.com, eve@example.com",
        "a" * 65 + "@example.com",
        "ada@" + "a" * 64 + ".com",
        "ada@" + "example." * 40 + "com",
        ".ada@example.com",
        "ada.@example.com",
        '"a b"@example.com',
    ],
)
def test_what_is_no_mailbox_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w+"):
        parse(text)


@given(
    st.from_regex(r"[a-zA-Z!.+_-]{1,66}", fullmatch=True) | st.sampled_from(["Info", "postmaster", "ada"]),
    st.from_regex(r"[A-Za-z0-9-]{1,64}(\.[a-zA-Z0-9-]{1,64}){0,4}", fullmatch=True)
    | st.sampled_from(
        ["example.com", "Example.COM", "xn--bcher-kva.example", "xn--a.com", "a.invalid", "b.test"]
    ),
)
def test_a_plain_address_is_what_the_library_says_of_it(local: str, domain: str) -> None:
    text = f"{local}@{domain}"
    try:
        checked = validate_email(text, check_deliverability=False, test_environment=True, strict=True)
    except EmailNotValidError as error:
        with pytest.raises(ValueError, match=re.escape(str(error))):
            parse(text)
    else:
        assert parse(text) == EmailAddress(checked.normalized, checked.ascii_domain)


@given(st.text())
def test_any_text_is_an_address_or_a_value_error(text: str) -> None:
    try:
        address = parse(text)
    except ValueError:
        return
    assert parse(address.text) == address


@given(st.emails())
def test_parsing_is_stable_and_case_does_not_change_the_digest(text: str) -> None:
    try:
        address = parse(text)
    except ValueError:
        return
    assert parse(address.text) == address
    assert parse(text.upper()).digest == parse(text.lower()).digest == address.digest


def test_equal_addresses_are_one_in_a_set() -> None:
    assert len({parse("ada@example.com"), parse("ada@EXAMPLE.com")}) == 1
