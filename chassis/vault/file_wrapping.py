"""Key-encryption keys of one's own: given to the process, and kept where the database is not."""

import json
from base64 import b64decode
from collections.abc import Mapping
from os import urandom

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from chassis.secret import Secret
from chassis.vault.wrapping import DoesNotOpen, Wrapped

_NONCE_BYTES = 12


class FileWrapping:
    """Wraps by AES-256-GCM with keys of 32 bytes in base64, by name: the first one wraps and all of them unwrap."""

    def __init__(self, keys: Mapping[str, Secret]) -> None:
        self._keys = {name: AESGCM(b64decode(key.reveal())) for name, key in keys.items()}
        self._current = next(iter(keys))

    def has(self, key: str) -> bool:
        """Whether a key of this name is among them."""
        return key in self._keys

    async def current_key(self) -> str:
        """The name of the first."""
        return self._current

    async def wrap(self, plain: bytes, context: Mapping[str, str]) -> Wrapped:
        """Nonce and ciphertext."""
        nonce = urandom(_NONCE_BYTES)
        ciphertext = self._keys[self._current].encrypt(nonce, plain, _canonical(context))
        return Wrapped(self._current, nonce + ciphertext)

    async def unwrap(self, wrapped: Wrapped, context: Mapping[str, str]) -> bytes:
        """The data key again. Raises DoesNotOpen."""
        nonce, ciphertext = wrapped.ciphertext[:_NONCE_BYTES], wrapped.ciphertext[_NONCE_BYTES:]
        try:
            return self._keys[wrapped.key].decrypt(nonce, ciphertext, _canonical(context))
        except (KeyError, ValueError, InvalidTag):
            raise DoesNotOpen from None


def _canonical(context: Mapping[str, str]) -> bytes:
    return json.dumps(dict(context), sort_keys=True).encode()
