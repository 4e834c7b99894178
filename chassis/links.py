"""Signed links in mail: they carry their organization, say what they are for, and never expire."""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from collections.abc import Sequence
from hashlib import sha256
from uuid import UUID

from chassis.context import ActorKind, RequestContext
from chassis.errors import NotFound
from chassis.secret import Secret

_ORGANIZATION_BYTES = 16
# RFC 2104 §5 allows the left half of the MAC; 128 bits cannot be guessed, and links stay short.
_MAC_BYTES = 16
# The least that it allows: for links that show what their holder has in hand anyway.
LEAST_MAC_BYTES = 10


class LinkSigner:
    """Makes and opens link tokens with HMAC-SHA256. The first key signs, all verify, so keys can be rotated.

    Keys are base64 of at least 32 bytes. A token is base64url of organization, payload and MAC; its purpose is
    signed but not carried, so that an unsubscribe link opens nothing else.
    """

    def __init__(self, keys: Sequence[Secret], *, mac_bytes: int = _MAC_BYTES) -> None:
        self._mac_bytes = mac_bytes
        self._keys = [_key_bytes(key) for key in keys]
        if not self._keys:
            raise ValueError("at least one link key is needed")

    def sign(self, purpose: str, organization_id: UUID, payload: bytes) -> str:
        """The token of a link; the same arguments give the same token as long as the first key stays."""
        body = organization_id.bytes + payload
        return urlsafe_b64encode(body + self._mac(self._keys[0], purpose, body)).rstrip(b"=").decode()

    def open(self, purpose: str, token: str) -> tuple[RequestContext, bytes]:
        """The anonymous context and the payload of a genuine token; raises NotFound for any other text."""
        signed = _decoded(token)
        body, mac = signed[: -self._mac_bytes], signed[-self._mac_bytes :]
        genuine = [hmac.compare_digest(mac, self._mac(key, purpose, body)) for key in self._keys]
        if len(body) < _ORGANIZATION_BYTES or not any(genuine):
            raise NotFound("link")
        context = RequestContext(
            issuer="link",
            actor_kind=ActorKind.ANONYMOUS,
            organization_id=UUID(bytes=body[:_ORGANIZATION_BYTES]),
        )
        return context, body[_ORGANIZATION_BYTES:]

    def _mac(self, key: bytes, purpose: str, body: bytes) -> bytes:
        # The purpose is hashed to a fixed length, so that no other purpose and body run together to the same bytes.
        return hmac.digest(key, sha256(purpose.encode()).digest() + body, "sha256")[: self._mac_bytes]


def _decoded(token: str) -> bytes:
    try:
        signed = urlsafe_b64decode(token + "=" * (-len(token) % 4))
    except (NotBase64, ValueError):
        raise NotFound("link") from None
    # The last character has bits to spare and the decoder skips foreign characters: only one spelling counts.
    if urlsafe_b64encode(signed).rstrip(b"=").decode() != token:
        raise NotFound("link")
    return signed


def _key_bytes(key: Secret) -> bytes:
    raw = urlsafe_b64decode(key.reveal().translate(str.maketrans("+/", "-_")))
    if len(raw) < 32:
        raise ValueError("a link key is base64 of at least 32 bytes")
    return raw
