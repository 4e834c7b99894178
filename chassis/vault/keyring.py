"""An organization's data keys, opened: what it keeps secret is sealed and opened by them, each value in its own place.

AES-256-GCM (NIST SP 800-38D) with nonces of chance: 2^32 values a key are no danger (§8.3), so keys are to be replaced
before. Associated with each value are organization, schema, table, row, column, and the id and version of its key, so that
what is moved anywhere else does not open.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from os import urandom
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from chassis.sealing import Sealer
from chassis.secret import Secret, SecretBytes
from chassis.vault.wrapping import DoesNotOpen

# What `chassis.sealing` sealed begins with the length of its key's name, which is never zero.
FORMAT = b"\x00"
KEY_ID = slice(1, 17)
_NONCE = slice(17, 29)
_CIPHERTEXT = slice(29, None)
_NONCE_BYTES = 12


@dataclass(frozen=True, slots=True, repr=False)
class DataKey:
    """A data key that is open."""

    id: UUID
    version: int
    cipher: AESGCM


class Keyring:
    """Seals and opens for one organization in one schema. It is for the transaction that it was asked for in.

    What was sealed before there were data keys, `former` opens; nothing is sealed so any more.
    """

    def __init__(
        self,
        schema: str,
        organization: UUID,
        keys: Sequence[DataKey],
        sealing: DataKey | None,
        former: Sealer | None = None,
    ) -> None:
        self._schema = schema
        self._former = former
        self._keys = {key.id.bytes: (key.cipher, _owner(organization, key)) for key in keys}
        self._sealing = sealing.id.bytes if sealing is not None else None
        self._columns: dict[tuple[str, str], bytes] = {}

    def seal(self, plain: bytes, *, table: str, row: UUID, column: str) -> bytes:
        """What to store in this place: format, key's id, nonce, ciphertext.

        Raises ReadOnlyKeyring where an organization without keys was only to be read.
        """
        if self._sealing is None:
            raise ReadOnlyKeyring
        cipher, owner = self._keys[self._sealing]
        nonce = urandom(_NONCE_BYTES)
        ciphertext = cipher.encrypt(nonce, plain, owner + row.bytes + self._column(table, column))
        return FORMAT + self._sealing + nonce + ciphertext

    def open(self, sealed: bytes, *, table: str, row: UUID, column: str) -> Secret:
        """The text that was sealed for this place. Raises DoesNotOpen."""
        try:
            return Secret(self._opened(sealed, table, row, column).decode())
        except UnicodeDecodeError:
            raise DoesNotOpen from None

    def open_bytes(self, sealed: bytes, *, table: str, row: UUID, column: str) -> SecretBytes:
        """What was sealed for this place, where it is no text. Raises DoesNotOpen."""
        return SecretBytes(self._opened(sealed, table, row, column))

    def _opened(self, sealed: bytes, table: str, row: UUID, column: str) -> bytes:
        try:
            if sealed[:1] != FORMAT:
                return self._formerly_sealed(sealed, table, row, column)
            cipher, owner = self._keys[sealed[KEY_ID]]
            return cipher.decrypt(
                sealed[_NONCE], sealed[_CIPHERTEXT], owner + row.bytes + self._column(table, column)
            )
        except (LookupError, ValueError, InvalidTag):
            raise DoesNotOpen from None

    def _formerly_sealed(self, sealed: bytes, table: str, row: UUID, column: str) -> bytes:
        if self._former is None:
            raise DoesNotOpen
        return self._former.open(sealed, table=table, row=row, column=column)

    def _column(self, table: str, column: str) -> bytes:
        # As many as the code names. Identifiers hold no point, so that no two columns are written alike.
        known = self._columns.get((table, column))
        if known is None:
            known = self._columns[table, column] = f"{self._schema}.{table}.{column}".encode()
        return known


class ReadOnlyKeyring(Exception):
    """Something was to be sealed in a transaction that may write nothing, for an organization that has no key yet."""


def _owner(organization: UUID, key: DataKey) -> bytes:
    # Of one length always, so that what follows cannot be taken for a part of it.
    return FORMAT + organization.bytes + key.id.bytes + key.version.to_bytes(4, "big")
