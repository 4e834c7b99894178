"""The few headers that mail is listed and found by, read in microseconds from a message's first lines."""

import re
from dataclasses import dataclass
from email.utils import parseaddr

from deploy.local.mailbox.headers import header_text

_SUBJECT = re.compile(rb"^subject:(.*(?:\r?\n[ \t].*)*)", re.IGNORECASE | re.MULTILINE)
_FROM = re.compile(rb"^from:(.*(?:\r?\n[ \t].*)*)", re.IGNORECASE | re.MULTILINE)
_END_OF_HEADERS = re.compile(rb"\r?\n\r?\n")


@dataclass(frozen=True, slots=True)
class Summary:
    """What the list of the inbox needs of a message's headers."""

    from_address: str
    subject: str


def summarize(content: bytes) -> Summary:
    """Read the address of From, its case folded, and the subject; empty where there is none."""
    end = _END_OF_HEADERS.search(content)
    headers = content[: end.start()] if end else content
    return Summary(parseaddr(_value(_FROM, headers))[1].casefold(), _value(_SUBJECT, headers))


def _value(pattern: re.Pattern[bytes], headers: bytes) -> str:
    found = pattern.search(headers)
    return header_text(found[1]) if found else ""
