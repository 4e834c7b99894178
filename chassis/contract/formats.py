"""The formats a string may have to follow, each a check and the words for its failure."""

import re
from collections.abc import Callable
from urllib.parse import urlsplit

from chassis.contract.rules import Format
from chassis.email_address import EmailAddress

TextCheck = Callable[[str], object]

# Control characters but for tab and line ends, and halves of surrogate pairs: PostgreSQL refuses NUL, UTF-8 the
# surrogates, and no text that a person writes holds the others.
_UNWRITABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]").search


# What starts a new line in one program or another.
has_line_break = re.compile("[\r\n\u2028\u2029]").search


def is_text(value: str) -> bool:
    """Whether a string holds nothing but characters that a text may hold."""
    return value.isprintable() or _UNWRITABLE(value) is None


def _is_email(value: str) -> bool:
    try:
        EmailAddress.parse(value)
    except ValueError:
        return False
    return True


def _is_url(value: str) -> bool:
    if not value.isprintable() or " " in value or "\\" in value:
        return False
    try:
        parts = urlsplit(value)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


# For each format: its check, the most characters it takes, and what to say of a string that fails.
CHECKS: dict[Format, tuple[TextCheck, int, str]] = {
    Format.UUID: (
        re.compile("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}").fullmatch,
        36,
        "must be a UUID in its canonical form",
    ),
    Format.EMAIL: (_is_email, 320, "must be an e-mail address"),
    Format.URL: (_is_url, 2048, "must be an absolute http or https URL"),
    Format.SCOPE: (
        re.compile("[a-z][a-z_]{0,62}:(?:read|write)").fullmatch,
        69,
        "must be a scope such as contacts:read",
    ),
    Format.PAGE_TOKEN: (
        re.compile("[A-Za-z0-9_=-]+").fullmatch,
        512,
        "must be a next_page_token of an earlier answer",
    ),
    Format.LINK_TOKEN: (re.compile("[A-Za-z0-9._=-]+").fullmatch, 512, "must be the token of a link"),
}
