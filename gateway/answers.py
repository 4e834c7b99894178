"""HTTP answers, with the security headers that each kind of answer carries."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

Headers = list[tuple[str, str]]

_ALWAYS: tuple[tuple[str, str], ...] = (
    ("server", "flownurture"),
    ("x-content-type-options", "nosniff"),
    ("cache-control", "no-store"),
    ("referrer-policy", "no-referrer"),
)
# For whatever a browser may show: nothing loads, nothing runs, nothing frames it; own styles and own forms work.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_JSON: tuple[tuple[str, str], ...] = (("content-type", "application/json"), *_ALWAYS)
_PROBLEM: tuple[tuple[str, str], ...] = (("content-type", "application/problem+json"), *_ALWAYS)


@dataclass(slots=True)
class Answer:
    """A status, headers and a body: whole, or in pieces that are yet to come."""

    status: int
    headers: Headers = field(default_factory=list)
    body: bytes = b""
    pieces: AsyncGenerator[bytes, None] | None = None


def json_answer(body: bytes, status: int = 200) -> Answer:
    """JSON as an endpoint answers it."""
    return Answer(status, [*_JSON], body)


def problem_answer(body: bytes, status: int) -> Answer:
    """An RFC 9457 problem document."""
    return Answer(status, [*_PROBLEM], body)


def empty_answer(status: int) -> Answer:
    """An answer without content."""
    return Answer(status, [*_ALWAYS])


def redirect_answer(location: str, status: int = 302) -> Answer:
    """The way to another place, which is not told where the client comes from."""
    return Answer(status, [("location", location), *_ALWAYS])


def raw_answer(body: bytes, content_type: str, status: int = 200) -> Answer:
    """Bytes of a stated type, fit for a browser."""
    media_type = content_type or "application/octet-stream"
    return Answer(
        status,
        [
            ("content-type", media_type),
            *_ALWAYS,
            ("content-security-policy", CONTENT_SECURITY_POLICY),
        ],
        body,
    )


def file_answer(name: str, content_type: str, pieces: AsyncGenerator[bytes, None]) -> Answer:
    """A file that a browser keeps under a name, and never shows."""
    answer = raw_answer(b"", content_type)
    answer.headers.append(("content-disposition", f'attachment; filename="{name}"'))
    answer.pieces = pieces
    return answer


def event_answer(pieces: AsyncGenerator[bytes, None]) -> Answer:
    """Server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html), which no proxy is to gather first."""
    return Answer(
        200, [("content-type", "text/event-stream"), *_ALWAYS, ("x-accel-buffering", "no")], pieces=pieces
    )
