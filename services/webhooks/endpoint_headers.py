"""Headers that an endpoint wants with every event: which there may be. They may be credentials, and are kept sealed."""

import re
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from chassis.errors import FieldViolation, InvalidRequest
from chassis.secret import Secret
from services.webhooks.outbound.addresses import Refused
from services.webhooks.outbound.requests import require_header

MOST_HEADERS = 10

Headers: TypeAlias = Sequence[tuple[str, Secret]]

# RFC 9110 §5.6.2, bounded.
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}")
# Visible ASCII with spaces between (RFC 9110 §5.5).
_VALUE = re.compile(r"[!-~](?:[ -~]{0,1022}[!-~])?")
# What a post says of itself and is signed with. What says where it ends and goes is refused where posts are made.
_OURS = frozenset({"signature", "signature-input", "user-agent"})
_OUR_PREFIXES = ("content-", "proxy-", "webhook-", "x-flownurture-")


def parse_headers(given: Mapping[str, object]) -> Headers:
    """Headers by name, as they are to be sent. Raises InvalidRequest that names each which may not be."""
    wrong = [
        FieldViolation(f"headers.{name}", problem)
        for name, value in given.items()
        if (problem := _problem(name, value))
    ]
    if len(given) > MOST_HEADERS:
        wrong.append(FieldViolation("headers", f"must be at most {MOST_HEADERS}"))
    if len({name.lower() for name in given}) < len(given):
        wrong.append(FieldViolation("headers", "must not name one header twice"))
    if wrong:
        raise InvalidRequest(*wrong)
    return [(name, Secret(str(value))) for name, value in given.items()]


def _problem(name: str, value: object) -> str | None:
    if not _NAME.fullmatch(name):
        return "must be a header's name of at most 64 characters"
    if not isinstance(value, str) or not _VALUE.fullmatch(value):
        return "must be a string of 1 to 1,024 visible ASCII characters, with spaces between them"
    if name.lower() in _OURS or name.lower().startswith(_OUR_PREFIXES) or not _may_be_posted(name, value):
        return "is a header that is not to be had"
    return None


def _may_be_posted(name: str, value: str) -> bool:
    try:
        require_header(name, value)
    except Refused:
        return False
    return True
