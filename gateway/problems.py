"""The one place where an error becomes an RFC 9457 problem document."""

import math
from collections.abc import Sequence
from typing import Any

import orjson

from chassis.errors import DomainError, ErrorKind, NotFound, RateLimited
from gateway.answers import Answer, problem_answer

TYPE_PREFIX = "https://flownurture.dev/problems/"

_STATUS = {
    ErrorKind.INVALID: 422,
    ErrorKind.NOT_FOUND: 404,
    ErrorKind.CONFLICT: 409,
    ErrorKind.FAILED_PRECONDITION: 409,
    ErrorKind.PERMISSION_DENIED: 403,
    ErrorKind.UNAUTHENTICATED: 401,
    ErrorKind.RATE_LIMITED: 429,
    ErrorKind.UNAVAILABLE: 503,
    ErrorKind.DEADLINE_EXCEEDED: 503,
}
_RETRY_AFTER_UNAVAILABLE = 1  # seconds


class HttpRefusal(Exception):
    """A refusal that only HTTP knows, so that no service can raise it."""

    def __init__(
        self, status: int, reason: str, detail: str, headers: Sequence[tuple[str, str]] = ()
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.reason = reason
        self.detail = detail
        self.headers = headers


class RouteNotFound(NotFound):
    """Nothing is at this path."""

    def __init__(self) -> None:
        super().__init__("resource")


class MethodNotAllowed(HttpRefusal):
    """Something is at this path, and does not take this method."""

    def __init__(self, allowed: Sequence[str]) -> None:
        methods = ", ".join(allowed)
        super().__init__(405, "METHOD_NOT_ALLOWED", f"This path takes {methods}.", [("allow", methods)])


class PayloadTooLarge(HttpRefusal):
    """The body is larger than this endpoint takes. The rest of it is not read: the connection ends."""

    def __init__(self, limit: int) -> None:
        super().__init__(
            413, "PAYLOAD_TOO_LARGE", f"The body may have at most {limit:,} bytes.", [("connection", "close")]
        )


class UriTooLong(HttpRefusal):
    """The path or the query is longer than any that makes sense here."""

    def __init__(self, limit: int) -> None:
        super().__init__(414, "URI_TOO_LONG", f"Path and query may have at most {limit:,} characters.")


def problem_of(error: Exception, request_id: str) -> Answer:
    """The answer to a request that ended in this error. What is no known refusal shows nothing of itself."""
    if isinstance(error, HttpRefusal):
        answer = _document(error.status, error.reason, error.detail, request_id)
        answer.headers += error.headers
        return answer
    if not isinstance(error, DomainError) or error.kind not in _STATUS:
        return _document(500, "INTERNAL", "Something went wrong on our side.", request_id)
    status = _STATUS[error.kind]
    # To a client a deadline that passed and a service that is away are the same: later it may work.
    reason = "UNAVAILABLE" if status == 503 else error.reason
    extra: dict[str, Any] = {}
    if status == 422:
        extra["errors"] = [{"field": each.field, "message": each.message} for each in error.violations]
    answer = _document(status, reason, error.message, request_id, **extra)
    if status == 401:
        answer.headers.append(("www-authenticate", "Bearer"))
    elif isinstance(error, RateLimited):
        answer.headers.append(("retry-after", str(max(1, math.ceil(error.retry_after)))))
    elif status == 503:
        answer.headers.append(("retry-after", str(_RETRY_AFTER_UNAVAILABLE)))
    return answer


def _document(status: int, reason: str, detail: str, request_id: str, **extra: Any) -> Answer:
    words = reason.lower().split("_")
    document = {
        "type": TYPE_PREFIX + "-".join(words),
        "title": " ".join(words).capitalize(),
        "status": status,
        "detail": detail,
        "request_id": request_id,
        **extra,
    }
    return problem_answer(orjson.dumps(document), status)
