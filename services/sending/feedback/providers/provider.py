"""The shape of an adapter: how a post is proven genuine, which messages it is about, and what it says of each."""

import hmac
import time
from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from chassis.errors import Unauthenticated
from services.sending.feedback.providers.events import Event

# By how much clocks may differ, in seconds.
_LEEWAY = 300.0


@dataclass(frozen=True, slots=True)
class Post:
    """What came: its headers that are known, by lower-case name, and its body."""

    headers: Mapping[str, str]
    body: bytes

    def credential(self, scheme: str) -> str:
        """What the Authorization header says in a scheme. Raises Unauthenticated where it says nothing in that one."""
        stated, _, credential = self.headers.get("authorization", "").partition(" ")
        if stated.lower() != scheme:
            raise Unauthenticated
        return credential


class Provider(Protocol):
    """An adapter. Reading needs no secret, so that what is kept can be read again."""

    async def admit(self, post: Post) -> None:
        """Return for a genuine post. Raises Unauthenticated for any other, Unavailable where nobody can tell."""

    @staticmethod
    def events(body: bytes) -> Iterator[Event]:
        """What a genuine post tells, whatever its body is."""


def require_same(shown: str, wanted: str) -> None:
    """Compare in constant time. Raises Unauthenticated for another text."""
    if not hmac.compare_digest(shown.encode(errors="replace"), wanted.encode()):
        raise Unauthenticated


def require_recent(seconds: str, longest: float) -> None:
    """Raises Unauthenticated for a time, in seconds since 1970, that is longer ago than `longest` seconds, or is to come."""
    if len(seconds) != 10 or not seconds.isascii() or not seconds.isdecimal():
        raise Unauthenticated
    if not -_LEEWAY <= time.time() - int(seconds) <= longest:
        raise Unauthenticated


def from_base64(text: str) -> bytes:
    """Raises Unauthenticated for what is not base64, or not as one would write it: no two texts are one proof."""
    try:
        decoded = b64decode(text, validate=True)
    except (NotBase64, ValueError):
        raise Unauthenticated from None
    if b64encode(decoded).decode() != text:
        raise Unauthenticated
    return decoded
