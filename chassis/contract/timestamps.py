"""Times as RFC 3339 writes them, to the nanosecond that `google.protobuf.Timestamp` holds."""

import re
from datetime import UTC, datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_WITHOUT_ZONE = datetime(1970, 1, 1)  # its isoformat() ends with the second
_RFC_3339 = re.compile(
    r"(?P<second>\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2})(?:\.(?P<fraction>\d{1,9}))?(?P<offset>[Zz]|[+-]\d{2}:\d{2})",
    re.ASCII,
)


def parse_timestamp(text: str) -> Timestamp:
    """Read an RFC 3339 time with its offset; raises ValueError for anything else."""
    match = _RFC_3339.fullmatch(text)
    if match is None:
        raise ValueError("not an RFC 3339 time")
    offset = match["offset"].upper().replace("Z", "+00:00")
    try:
        since_epoch = datetime.fromisoformat(match["second"].upper() + offset) - _EPOCH
    except OverflowError as error:
        raise ValueError("out of range") from error
    nanos = int((match["fraction"] or "").ljust(9, "0"))
    return Timestamp(seconds=since_epoch.days * 86_400 + since_epoch.seconds, nanos=nanos)


def format_timestamp(timestamp: Timestamp) -> str:
    """Write a time in UTC with `Z`, with no more digits of a second than it needs of 0, 3, 6 or 9."""
    second = (_EPOCH_WITHOUT_ZONE + timedelta(seconds=timestamp.seconds)).isoformat()
    return f"{second}{_fraction(timestamp.nanos)}Z"


def _fraction(nanos: int) -> str:
    if nanos == 0:
        return ""
    if nanos % 1_000_000 == 0:
        return f".{nanos // 1_000_000:03}"
    if nanos % 1_000 == 0:
        return f".{nanos // 1_000:06}"
    return f".{nanos:09}"
