"""The text form of an API key: `fnk_live_<key id>_<secret><checksum>`.

The checksum refuses a mistyped key without a look-up and lets secret scanners know a leaked one.
"""

import re
import secrets
import string
import zlib
from dataclasses import dataclass
from hashlib import sha256
from typing import Self
from uuid import UUID

PREFIX = "fnk_live_"

_BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
_SECRET_LENGTH = 43  # the least number of base62 digits that hold 256 bits
CHECKSUM_LENGTH = 6  # the least number of base62 digits that hold 32 bits
_FORM = re.compile(
    rf"(?P<signed>{PREFIX}(?P<key_id>[0-9a-f]{{32}})_(?P<secret>[0-9A-Za-z]{{{_SECRET_LENGTH}}}))"
    rf"(?P<checksum>[0-9A-Za-z]{{{CHECKSUM_LENGTH}}})"
)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A well-formed key: which one it claims to be, and the SHA-256 of its secret as identity stores it."""

    key_id: UUID
    secret_digest: bytes

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a key. Raises ValueError for any text that `mint` cannot have made, by one character even."""
        key_id, secret = take_apart(text)
        return cls(key_id, sha256(secret).digest())

    @staticmethod
    def mint(key_id: UUID) -> str:
        """Make the text of a new key with a fresh secret of 256 random bits."""
        secret = _base62(secrets.randbits(256), _SECRET_LENGTH)
        signed = f"{PREFIX}{key_id.hex}_{secret}"
        return signed + checksum(signed)


def take_apart(text: str) -> tuple[UUID, bytes]:
    """The id and the secret of a key, for who may have the secret: its holder. Raises ValueError as `parse` does."""
    match = _FORM.fullmatch(text)
    if match is None or checksum(match["signed"]) != match["checksum"]:
        raise ValueError("not an API key")
    return UUID(hex=match["key_id"]), match["secret"].encode()


def checksum(signed: str) -> str:
    """What follows the text of a key: its CRC-32 (as in zlib) in base62, digits first, then capitals.

    It finds every error within 32 adjacent bits, so every change of a single character.
    """
    return _base62(zlib.crc32(signed.encode()), CHECKSUM_LENGTH)


def _base62(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits.append(_BASE62[digit])
    return "".join(reversed(digits))
