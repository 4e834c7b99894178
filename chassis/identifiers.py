"""Identifiers: UUIDv7 (RFC 9562 §5.7), so that rows and events sort by the time they were made."""

from hashlib import sha256
from uuid import UUID

from uuid_utils.compat import uuid7

# The 76 bits after time and version, less the two of the variant.
_RANDOM_BITS = (1 << 76) - 1 & ~(3 << 62)


def new_id() -> UUID:
    """Make a fresh id, greater than every one this process made before."""
    return uuid7()


def parse_id(text: str) -> UUID:
    """Read an id from a field whose format the contract has already checked."""
    return UUID(text)


def derived_id(milliseconds: int, source: bytes) -> UUID:
    """An id laid out as a UUIDv7 of that time since 1970, the same whenever it is made of the same source."""
    random = int.from_bytes(sha256(source).digest()[:10])
    return UUID(int=milliseconds << 80 | 7 << 76 | random & _RANDOM_BITS | 2 << 62)


def milliseconds_of(identifier: UUID) -> int:
    """When a UUIDv7 was made, since 1970."""
    return identifier.int >> 80
