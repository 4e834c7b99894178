"""Lists in pages: the size of a page, and the opaque cursor that names the last id of the page before."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from chassis.errors import FieldViolation, InvalidRequest


def page_size(requested: int, default: int = 50, most: int = 500) -> int:
    """How many items a page holds: the default when the request does not say, never more than `most` (AIP-158)."""
    return min(requested, most) if requested > 0 else default


def encode_cursor(last_id: UUID) -> str:
    """The page token after `last_id`."""
    return urlsafe_b64encode(last_id.bytes).rstrip(b"=").decode()


class Identified(Protocol):
    """An item of a list."""

    @property
    def id(self) -> UUID:
        """By which the list is ordered."""


def next_cursor(found: Sequence[Identified], size: int) -> str:
    """The token of the page behind the first `size` of what was found, of which one more was asked for; "" if there is none."""
    return encode_cursor(found[size - 1].id) if len(found) > size else ""


def decode_cursor(token: str) -> UUID | None:
    """The id that `encode_cursor` was given, None for the first page; raises InvalidRequest for any other text."""
    if not token:
        return None
    try:
        last_id = UUID(bytes=urlsafe_b64decode(token + "=="))
    except (NotBase64, ValueError):
        raise _no_token() from None
    if encode_cursor(last_id) != token:
        raise _no_token()
    return last_id


def _no_token() -> InvalidRequest:
    return InvalidRequest(FieldViolation("page_token", "is not a token that a list answered with"))
