"""Addresses of our own that say which message they belong to, and cannot be made up by others.

The local part is 40 bytes in base32, which survives servers that turn letters small, and has just the 64 characters that RFC 5321
§4.5.3.1.1 allows: organization, message, and the first 8 bytes of an HMAC-SHA256.
"""

import hmac
from base64 import b32decode, b32encode, b64decode
from binascii import Error as NotBase32
from collections.abc import Sequence
from hashlib import sha256
from typing import ClassVar
from uuid import UUID

from chassis.errors import NotFound
from chassis.secret import Secret

# Under which name a provider that mail is handed to carries the token of a message, and gives it back.
CARRIED_AS = "flownurture"

_ID_BYTES = 16
_MAC_BYTES = 8


class SignedAddresses:
    """Makes and opens them; the first key signs, all of them verify. Keys are base64 of at least 32 bytes."""

    # Signed but not carried, so that what is made for one purpose serves no other.
    purpose: ClassVar[str]

    def __init__(self, keys: Sequence[Secret]) -> None:
        self._keys = [b64decode(key.reveal()) for key in keys]
        self._purpose = sha256(self.purpose.encode()).digest()

    def address(self, organization_id: UUID, message_id: UUID, domain: str) -> str:
        """The address of a message, at a domain whose mail we get."""
        return f"{self.token(organization_id, message_id)}@{domain}"

    def token(self, organization_id: UUID, message_id: UUID) -> str:
        """The local part of a message's address."""
        body = organization_id.bytes + message_id.bytes
        return b32encode(body + self._mac(self._keys[0], body)).decode().lower()

    def open(self, address: str) -> tuple[UUID, UUID]:
        """The organization and the message of a genuine one, or of its local part. Raises NotFound for any other text."""
        local, _, _ = address.partition("@")
        try:
            signed = b32decode(local.upper())
        except (NotBase32, ValueError):
            raise NotFound(self.purpose) from None
        body, mac = signed[:-_MAC_BYTES], signed[-_MAC_BYTES:]
        genuine = [hmac.compare_digest(mac, self._mac(key, body)) for key in self._keys]
        if len(body) != 2 * _ID_BYTES or not any(genuine):
            raise NotFound(self.purpose)
        return UUID(bytes=body[:_ID_BYTES]), UUID(bytes=body[_ID_BYTES:])

    def _mac(self, key: bytes, body: bytes) -> bytes:
        return hmac.digest(key, self._purpose + body, "sha256")[:_MAC_BYTES]


class ReturnPaths(SignedAddresses):
    """Return paths (VERP): whatever comes to one is about its message."""

    purpose = "return-path"


class UnsubscribeAddresses(SignedAddresses):
    """Addresses to which a mail opts out whoever got the message (RFC 2369 §3.2)."""

    purpose = "unsubscribe-address"


class CarriedTokens(SignedAddresses):
    """No addresses: what a provider carries with a message, and gives back with what it tells of it."""

    purpose = "carried-token"
