"""Identifiers: UUIDv7 (RFC 9562 §5.7), so that rows and events sort by the time they were made."""

from uuid import UUID

from uuid_utils.compat import uuid7


def new_id() -> UUID:
    """Make a fresh id, greater than every one this process made before."""
    return uuid7()


def parse_id(text: str) -> UUID:
    """Read an id from a field whose format the contract has already checked."""
    return UUID(text)
