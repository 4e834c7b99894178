"""Sealing as it was before there were data keys and envelopes: `chassis.vault` opens by it what is still stored so.

Nothing seals so any more but tests and benches, which need something from before.

AES-256-GCM (NIST SP 800-38D). The place (schema, table, row, column) is authenticated with it, so that what is moved to another
row or column does not open. The first key seals and all of them open, so keys can be rotated.
"""

from base64 import b64decode
from collections.abc import Mapping
from os import urandom
from uuid import UUID

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from chassis.secret import Secret

_NONCE_BYTES = 12


class Sealer:
    """Opens what a schema stores from then, with keys of 32 bytes in base64, by key id of at most 255 bytes."""

    def __init__(self, schema: str, keys: Mapping[str, Secret]) -> None:
        self._schema = schema
        self._keys = {key_id: AESGCM(b64decode(key.reveal())) for key_id, key in keys.items()}
        self._sealing = next(iter(keys))

    def seal(self, plain: bytes, *, table: str, row: UUID, column: str) -> bytes:
        """What to store: the key's id, a nonce, the ciphertext."""
        key_id, nonce = self._sealing.encode(), urandom(_NONCE_BYTES)
        ciphertext = self._keys[self._sealing].encrypt(nonce, plain, self._place(table, row, column))
        return bytes((len(key_id),)) + key_id + nonce + ciphertext

    def open(self, sealed: bytes, *, table: str, row: UUID, column: str) -> bytes:
        """What was sealed for this place.

        Raises KeyError when its key is none of ours any more, InvalidTag when it was sealed for another place.
        """
        end = 1 + sealed[0]
        nonce, ciphertext = sealed[end : end + _NONCE_BYTES], sealed[end + _NONCE_BYTES :]
        return self._keys[sealed[1:end].decode()].decrypt(nonce, ciphertext, self._place(table, row, column))

    def _place(self, table: str, row: UUID, column: str) -> bytes:
        return f"{self._schema}.{table}.{column}:{row}".encode()
