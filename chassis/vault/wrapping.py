"""Wrapping: how a data key is encrypted by a key-encryption key, which is never stored beside it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


class DoesNotOpen(Exception):
    """What was to be opened is not what was sealed there, or its key is known no more.

    Moved, changed, cut off, sealed by a key that was destroyed, or wrapped by one that nobody has: which of them it was
    is not told, and makes no difference.
    """


@dataclass(frozen=True, slots=True)
class Wrapped:
    """A data key that only a key-encryption key opens; `key` is that one's name and version, as its keeper has it."""

    key: str
    ciphertext: bytes


class Wrapping(Protocol):
    """Whoever keeps key-encryption keys. `context` is bound to what is wrapped: with another one it does not open.

    All methods raise Unavailable when the keeper does not answer, or does not let us.
    """

    async def current_key(self) -> str:
        """The key that wraps now; what another one has wrapped is to be wrapped again."""
        ...

    async def wrap(self, plain: bytes, context: Mapping[str, str]) -> Wrapped:
        """Encrypt a data key by the current key."""
        ...

    async def unwrap(self, wrapped: Wrapped, context: Mapping[str, str]) -> bytes:
        """The data key again, whichever key wrapped it. Raises DoesNotOpen."""
        ...
