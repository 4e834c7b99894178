"""Domain errors on the wire: gRPC status codes with `google.rpc` details, and back, intact."""

from typing import Any

import grpc
import grpc.aio
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from chassis.errors import (
    Conflict,
    DeadlineExceeded,
    DomainError,
    ErrorKind,
    FailedPrecondition,
    FieldViolation,
    InternalError,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    RateLimited,
    Unauthenticated,
    Unavailable,
)

DOMAIN = "flownurture"
_DETAILS = "grpc-status-details-bin"

_CODES = {
    ErrorKind.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    ErrorKind.CONFLICT: grpc.StatusCode.ALREADY_EXISTS,
    ErrorKind.INVALID: grpc.StatusCode.INVALID_ARGUMENT,
    ErrorKind.FAILED_PRECONDITION: grpc.StatusCode.FAILED_PRECONDITION,
    ErrorKind.PERMISSION_DENIED: grpc.StatusCode.PERMISSION_DENIED,
    ErrorKind.UNAUTHENTICATED: grpc.StatusCode.UNAUTHENTICATED,
    ErrorKind.RATE_LIMITED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    ErrorKind.UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    ErrorKind.DEADLINE_EXCEEDED: grpc.StatusCode.DEADLINE_EXCEEDED,
    ErrorKind.INTERNAL: grpc.StatusCode.INTERNAL,
}
_ERRORS: dict[int, type[DomainError]] = {
    _CODES[error.kind].value[0]: error
    for error in (
        NotFound,
        Conflict,
        InvalidRequest,
        FailedPrecondition,
        PermissionDenied,
        Unauthenticated,
        RateLimited,
        Unavailable,
        DeadlineExceeded,
        InternalError,
    )
}

# Details travel in headers, whose size is bounded.
_MOST_VIOLATIONS = 20
_LONGEST_TEXT = 500

Metadata = tuple[tuple[str, bytes], ...]


def code_of(error: DomainError) -> grpc.StatusCode:
    """The status code of an error's kind."""
    return _CODES[error.kind]


def details_of(error: DomainError) -> Metadata:
    """The trailing metadata that carries an error whole."""
    status = status_pb2.Status(code=code_of(error).value[0], message=error.message[:_LONGEST_TEXT])
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN))
    if error.violations:
        status.details.add().Pack(
            error_details_pb2.BadRequest(
                field_violations=[
                    error_details_pb2.BadRequest.FieldViolation(
                        field=violation.field[:_LONGEST_TEXT], description=violation.message[:_LONGEST_TEXT]
                    )
                    for violation in error.violations[:_MOST_VIOLATIONS]
                ]
            )
        )
    if isinstance(error, RateLimited):
        status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=_duration(error.retry_after)))
    return ((_DETAILS, status.SerializeToString()),)


def error_of(failure: grpc.aio.AioRpcError) -> DomainError:
    """The error that the other side raised; for a failure that is none of ours, the kind its code tells."""
    trailing: Any = failure.trailing_metadata() or ()
    for key, value in trailing:
        if key == _DETAILS and isinstance(value, bytes):
            error = _restored(value)
            if error is not None:
                return error
    if failure.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        return DeadlineExceeded()
    if failure.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}:
        return Unavailable()
    return InternalError()


def _restored(details: bytes) -> DomainError | None:
    info, bad_request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    retry = error_details_pb2.RetryInfo()
    try:
        status = status_pb2.Status.FromString(details)
        for detail in status.details:
            _ = detail.Unpack(info) or detail.Unpack(bad_request) or detail.Unpack(retry)
    except DecodeError:
        return None
    kind = _ERRORS.get(status.code)
    if kind is None or info.domain != DOMAIN:
        return None
    violations = [
        FieldViolation(violation.field, violation.description) for violation in bad_request.field_violations
    ]
    # Subclasses have constructors of their own; what they would compute is in the message already.
    error = kind.__new__(kind)
    DomainError.__init__(error, status.message, reason=info.reason, violations=violations)
    if isinstance(error, RateLimited):
        error.retry_after = retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9
    return error


def _duration(seconds: float) -> Duration:
    whole = int(seconds)
    return Duration(seconds=whole, nanos=int((seconds - whole) * 1e9))
