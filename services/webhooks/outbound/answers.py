"""What comes back: its status, how long to wait, and the beginning of its body."""

import math
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import NamedTuple


class Answer(NamedTuple):
    """Of one post; `duration` and `retry_after` in seconds, `body` its first 1,024 bytes, `address` where it came from."""

    status: int
    body: bytes
    retry_after: float | None
    address: str
    duration: float


class Failure(StrEnum):
    """Why there was no answer."""

    # Nothing was sent: it must not be reached.
    REFUSED = "refused"
    UNRESOLVED = "unresolved"
    UNREACHABLE = "unreachable"
    TLS = "tls"
    TIMEOUT = "timeout"
    # It closed the connection, or spoke something else than HTTP.
    BROKEN = "broken"


class PostFailed(Exception):
    """There was no answer; `duration` in seconds, `address` where one was connected to."""

    def __init__(self, outcome: Failure, detail: str, *, address: str = "", duration: float = 0.0) -> None:
        super().__init__(detail)
        self.outcome = outcome
        self.detail = detail
        self.address = address
        self.duration = duration


def retry_after(value: str, now: datetime | None = None) -> float | None:
    """Seconds that Retry-After asks for, in either form (RFC 9110 §10.2.3); None where it says nothing that can be read."""
    if value.isascii() and value.isdecimal():
        return float(value) if len(value) < 12 else math.inf
    try:
        moment = parsedate_to_datetime(value) if value else None
    except (ValueError, IndexError, OverflowError):
        moment = None
    if moment is None:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - (now or datetime.now(UTC))).total_seconds())
