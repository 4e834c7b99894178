"""The errors that cross process borders: a small set of kinds, each with a reason a program can act upon.

A domain raises them, the RPC boundary carries them over intact, and the gateway turns them into problem documents.
What is not one of them is a bug, and shows nothing of itself outside.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import ClassVar


class ErrorKind(Enum):
    """What sort of refusal it is; the wire's status codes follow from it."""

    NOT_FOUND = auto()
    CONFLICT = auto()
    INVALID = auto()
    FAILED_PRECONDITION = auto()
    PERMISSION_DENIED = auto()
    UNAUTHENTICATED = auto()
    RATE_LIMITED = auto()
    UNAVAILABLE = auto()
    DEADLINE_EXCEEDED = auto()
    INTERNAL = auto()


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """What is wrong with one field of a request: its path (`audience.list_ids[3]`) and a sentence's end."""

    field: str
    message: str


class DomainError(Exception):
    """An answer that is no success.

    `message` is written for the caller and may be shown to anybody; `reason` is UPPER_SNAKE and stable.
    """

    kind: ClassVar[ErrorKind]

    def __init__(self, message: str, *, reason: str, violations: Sequence[FieldViolation] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.violations = tuple(violations)


class NotFound(DomainError):
    """There is no such thing in the caller's organization, or anywhere."""

    kind = ErrorKind.NOT_FOUND

    def __init__(self, what: str) -> None:
        super().__init__(f"There is no such {what}.", reason="NOT_FOUND")


class Conflict(DomainError):
    """The state of things stands against the request."""

    kind = ErrorKind.CONFLICT

    def __init__(self, message: str, reason: str = "CONFLICT") -> None:
        super().__init__(message, reason=reason)


class InvalidRequest(DomainError):
    """The request itself is wrong, whatever the state; it names the fields that are."""

    kind = ErrorKind.INVALID

    def __init__(
        self,
        *violations: FieldViolation,
        message: str = "The request is not valid.",
        reason: str = "INVALID_REQUEST",
    ) -> None:
        super().__init__(message, reason=reason, violations=violations)


class FailedPrecondition(DomainError):
    """Something else must be done or become true first; the reason says what."""

    kind = ErrorKind.FAILED_PRECONDITION

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message, reason=reason)


class PermissionDenied(DomainError):
    """The caller is known and may not do this; the reason tells role, scope and plan apart."""

    kind = ErrorKind.PERMISSION_DENIED

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message, reason=reason)


class Unauthenticated(DomainError):
    """The caller has not proved who it is."""

    kind = ErrorKind.UNAUTHENTICATED

    def __init__(
        self, message: str = "A valid credential is needed.", *, reason: str = "UNAUTHENTICATED"
    ) -> None:
        super().__init__(message, reason=reason)


class RateLimited(DomainError):
    """Too many requests; another may come after `retry_after` seconds."""

    kind = ErrorKind.RATE_LIMITED

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message, reason="RATE_LIMITED")
        self.retry_after = retry_after


class Unavailable(DomainError):
    """Something that is needed does not answer; the same request may succeed later."""

    kind = ErrorKind.UNAVAILABLE

    def __init__(self, message: str = "The service is not available at the moment.") -> None:
        super().__init__(message, reason="UNAVAILABLE")


class DeadlineExceeded(DomainError):
    """The time allowed for the request ran out. Whether it took effect is not known."""

    kind = ErrorKind.DEADLINE_EXCEEDED

    def __init__(self, message: str = "The request took too long.") -> None:
        super().__init__(message, reason="DEADLINE_EXCEEDED")


class InternalError(DomainError):
    """A bug on the other side. What went wrong is in its log, under the request id."""

    kind = ErrorKind.INTERNAL

    def __init__(self, message: str = "Something went wrong on our side.") -> None:
        super().__init__(message, reason="INTERNAL")
