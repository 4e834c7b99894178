"""Envelopes: sealed values that carry their own data key, wrapped, for what is no organization's or passes between services.

    envelopes = Envelopes(wrapping, schema="identity", table="second_factors", column="sealed_seed")  # one a process

    sealed = await envelopes.seal(seed, row=user_id)
    (await envelopes.open(sealed, row=user_id)).reveal()

AES-256-GCM. Associated with each value are schema, table, column and row, and all of the envelope that is not the value; its data
key is wrapped for the column. So a value opens in its own place, and nowhere without the key-encryption key. See ADR 0050.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from os import urandom
from time import monotonic
from typing import Self
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from chassis.sealing import Sealer
from chassis.secret import SecretBytes
from chassis.vault.shared_openings import SharedOpenings
from chassis.vault.wrapping import DoesNotOpen, Wrapped, Wrapping

# What `chassis.sealing` sealed begins with the length of its key's name, which is never zero.
FORMAT = b"\x00"
_LENGTH_BYTES = 2
_NONCE_BYTES = 12
_DATA_KEY_BYTES = 32
# Nonces are random: 2^32 values a key are the limit (NIST SP 800-38D §8.3).
_MOST_VALUES = 2**20
_SEALS_FOR_SECONDS = 3600.0
# As long as a vault remembers the keys of an organization.
_KNOWN_FOR_SECONDS = 60.0
_MOST_KNOWN = 1024


def beginning(wrapping_key: str) -> bytes:
    """What each envelope begins with whose data key this key-encryption key has wrapped."""
    return FORMAT + _measured(wrapping_key.encode())


class Envelopes:
    """Seals and opens one column. `former` opens what it kept sealed before, until that is sealed again.

    A process seals by a data key of its own, which serves for an hour and a million values at most, and remembers for a minute
    those that it has opened: a key service is asked seldom.

    All methods raise Unavailable when the keeper of the key-encryption key does not answer.
    """

    def __init__(
        self,
        wrapping: Wrapping,
        *,
        schema: str,
        table: str,
        column: str,
        former: Sealer | None = None,
        most_values: int = _MOST_VALUES,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._wrapping = wrapping
        self._table = table
        self._column = column
        self._place = f"{schema}.{table}.{column}"
        self._former = former
        self._most_values = most_values
        self._clock = clock
        self._sealing: _SealingKey | None = None
        self._known: OrderedDict[Wrapped, tuple[float, AESGCM]] = OrderedDict()
        self._making: SharedOpenings[str, _SealingKey] = SharedOpenings()
        self._opening: SharedOpenings[Wrapped, AESGCM] = SharedOpenings()

    async def seal(self, plain: bytes, *, row: UUID) -> bytes:
        """What to store in this row: format, key-encryption key's name, wrapped data key, nonce, ciphertext."""
        key = await self._sealing_key()
        nonce = urandom(_NONCE_BYTES)
        return key.head + nonce + key.cipher.encrypt(nonce, plain, self._bound(key.head, row))

    async def open(self, sealed: bytes, *, row: UUID) -> SecretBytes:
        """What was sealed for this row. Raises DoesNotOpen."""
        if sealed[:1] != FORMAT:
            return SecretBytes(self._formerly_sealed(sealed, row))
        envelope = _Envelope.parse(sealed)
        cipher = await self._data_key(envelope.wrapped)
        try:
            plain = cipher.decrypt(envelope.nonce, envelope.ciphertext, self._bound(envelope.head, row))
        except (ValueError, InvalidTag):
            raise DoesNotOpen from None
        return SecretBytes(plain)

    async def sealed_again(self, sealed: bytes, *, row: UUID) -> bytes:
        """The same value by a data key of this process, which the key-encryption key has wrapped that wraps now. Raises DoesNotOpen."""
        return await self.seal((await self.open(sealed, row=row)).reveal(), row=row)

    async def current_wrapping_key(self) -> str:
        """The key-encryption key that wraps now."""
        return await self._wrapping.current_key()

    async def _sealing_key(self) -> "_SealingKey":
        while (key := self._sealing) is None or not key.take(self._clock()):
            self._sealing = await self._making.opened(self._place, self._fresh_key)
        return key

    async def _fresh_key(self) -> "_SealingKey":
        until = self._clock() + _SEALS_FOR_SECONDS
        plain = urandom(_DATA_KEY_BYTES)
        wrapped = await self._wrapping.wrap(plain, self._context())
        head = beginning(wrapped.key) + _measured(wrapped.ciphertext)
        return _SealingKey(head, AESGCM(plain), until, self._most_values)

    async def _data_key(self, wrapped: Wrapped) -> AESGCM:
        until, known = self._known.get(wrapped, (0.0, None))
        if known is not None and self._clock() < until:
            self._known.move_to_end(wrapped)
            return known
        return await self._opening.opened(wrapped, lambda: self._unwrapped(wrapped))

    async def _unwrapped(self, wrapped: Wrapped) -> AESGCM:
        until = self._clock() + _KNOWN_FOR_SECONDS
        cipher = AESGCM(await self._wrapping.unwrap(wrapped, self._context()))
        self._known[wrapped] = until, cipher
        self._known.move_to_end(wrapped)
        while len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)
        return cipher

    def _formerly_sealed(self, sealed: bytes, row: UUID) -> bytes:
        if self._former is None:
            raise DoesNotOpen
        try:
            return self._former.open(sealed, table=self._table, row=row, column=self._column)
        except (LookupError, ValueError, InvalidTag):
            raise DoesNotOpen from None

    def _context(self) -> dict[str, str]:
        return {"column": self._place}

    def _bound(self, head: bytes, row: UUID) -> bytes:
        # The head tells its own length, and the row has always the same.
        return head + row.bytes + self._place.encode()


@dataclass(slots=True, repr=False)
class _SealingKey:
    head: bytes
    cipher: AESGCM
    until: float
    left: int

    def take(self, now: float) -> bool:
        """Whether it serves for one more value."""
        serves = self.left > 0 and now < self.until
        self.left -= serves
        return serves


@dataclass(frozen=True, slots=True)
class _Envelope:
    head: bytes
    wrapped: Wrapped
    nonce: bytes
    ciphertext: bytes

    @classmethod
    def parse(cls, sealed: bytes) -> Self:
        """Raises DoesNotOpen for what is no envelope."""
        name, rest = _split(sealed[len(FORMAT) :])
        wrapped, rest = _split(rest)
        head = sealed[: len(sealed) - len(rest)]
        try:
            return cls(head, Wrapped(name.decode(), wrapped), rest[:_NONCE_BYTES], rest[_NONCE_BYTES:])
        except UnicodeDecodeError:
            raise DoesNotOpen from None


def _measured(part: bytes) -> bytes:
    return len(part).to_bytes(_LENGTH_BYTES, "big") + part


def _split(written: bytes) -> tuple[bytes, bytes]:
    """A part that tells its length, and what comes after it. No part is empty."""
    end = _LENGTH_BYTES + int.from_bytes(written[:_LENGTH_BYTES], "big")
    if not _LENGTH_BYTES < end < len(written):
        raise DoesNotOpen
    return written[_LENGTH_BYTES:end], written[end:]
