"""Times in requests as the type the domain works with."""

from datetime import UTC, datetime

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from chassis.errors import FieldViolation, InvalidRequest

# No mail is older, and nobody plans as far.
_EARLIEST, _LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(3000, 1, 1, tzinfo=UTC)


def moment_of(request: Message, field: str) -> datetime | None:
    """The time in a field, None when none is given. Raises InvalidRequest for one that makes no sense."""
    if not request.HasField(field):
        return None
    given: Timestamp = getattr(request, field)
    moment = given.ToDatetime(tzinfo=UTC)
    if not _EARLIEST <= moment <= _LATEST:
        raise InvalidRequest(FieldViolation(field, f"must be from {_EARLIEST:%Y} to {_LATEST:%Y}"))
    return moment
