"""Fields of requests as the types the domain works with, and moments as messages hold them."""

from datetime import UTC, datetime

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp


def moment_of(request: Message, field: str) -> datetime | None:
    """The time in a field, if there is one."""
    if not request.HasField(field):
        return None
    moment: datetime = getattr(request, field).ToDatetime(UTC)
    return moment


def timestamp(moment: datetime | None) -> Timestamp | None:
    """A time as a field of a message, if there is one."""
    if moment is None:
        return None
    message = Timestamp()
    message.FromDatetime(moment)
    return message
