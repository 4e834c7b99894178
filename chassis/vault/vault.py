"""The vault: envelope encryption for what must be read again, with data keys of each organization's own.

    vault = Vault("webhooks", wrapping)  # one a process

    keyring = await vault.keyring(session)
    sealed = keyring.seal(secret, table="endpoints", row=endpoint_id, column="sealed_secret")
    keyring.open(sealed, table="endpoints", row=endpoint_id, column="sealed_secret").reveal()

A dump of the database opens nothing: its data keys are wrapped by a key-encryption key that is not in it. See ADR 0038.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from os import urandom
from time import monotonic
from uuid import UUID
from weakref import WeakKeyDictionary

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from chassis.database import TenantSession
from chassis.identifiers import new_id
from chassis.sealing import Sealer
from chassis.vault.data_keys import (
    PACE,
    Pace,
    StoredKey,
    add_key,
    destroy_keys,
    sealing_key,
    stored_keys,
)
from chassis.vault.keyring import DataKey, Keyring
from chassis.vault.shared_openings import SharedOpenings
from chassis.vault.wrapping import Wrapped, Wrapping

_DATA_KEY_BYTES = 32
# Organizations whose keys are known at once, at some 2 KB each.
KNOWN_ORGANIZATIONS = 4096


class Vault:
    """The keyrings of a schema's organizations; remembers those that were asked for last.

    `former` opens what the schema kept sealed before, until `rotate-data-keys` has sealed it again.
    """

    def __init__(
        self,
        schema: str,
        wrapping: Wrapping,
        *,
        former: Sealer | None = None,
        known_organizations: int = KNOWN_ORGANIZATIONS,
        pace: Pace = PACE,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._schema = schema
        self._wrapping = wrapping
        self._former = former
        self._known_organizations = known_organizations
        self._pace = pace
        self._clock = clock
        self._known: OrderedDict[UUID, tuple[float, Keyring]] = OrderedDict()
        self._opening: SharedOpenings[UUID, DataKey] = SharedOpenings()
        # A key that is not committed is its own transaction's only: were it remembered and the transaction undone,
        # others would have sealed with a key that there is not.
        self._uncommitted: WeakKeyDictionary[TenantSession, Keyring] = WeakKeyDictionary()

    async def keyring(self, session: TenantSession) -> Keyring:
        """The keyring of the session's organization, with its first key made where it has none and may be written to.

        Raises Unavailable when the keeper of the key-encryption key does not answer, DoesNotOpen when it has the key
        that wrapped a data key no more.
        """
        if session.is_read_only:
            return await self.keyring_to_open(session)
        return await self._present(session) or await self._with_first_key(session)

    async def keyring_to_open(self, session: TenantSession) -> Keyring:
        """The same where nothing is to be sealed: an organization that has no key gets none. Raises as `keyring` does."""
        present = await self._present(session)
        return present or self._keyring(session.context.organization, [], None)

    async def destroy(self, session: TenantSession) -> int:
        """Destroy the keys of the session's organization, with its commit; answers how many there were.

        What they sealed opens never again. Other processes may remember them for a minute.
        """
        destroyed = await destroy_keys(session)
        self._known.pop(session.context.organization, None)
        return destroyed

    async def current_wrapping_key(self) -> str:
        """The key-encryption key that wraps now. Raises Unavailable."""
        return await self._wrapping.current_key()

    async def wrapped_key(self, organization: UUID, key_id: UUID, version: int) -> Wrapped:
        """A fresh data key, as it is stored."""
        _, wrapped = await self._fresh_key(organization, key_id, version)
        return wrapped

    async def rewrapped(self, organization: UUID, key: StoredKey) -> Wrapped:
        """The same data key, wrapped by the key-encryption key that wraps now."""
        context = self._context(organization, key.id, key.version)
        return await self._wrapping.wrap(await self._wrapping.unwrap(key.wrapped, context), context)

    def _remembered(self, organization: UUID) -> Keyring | None:
        if (known := self._known.get(organization)) is None or self._clock() >= known[0]:
            return None
        self._known.move_to_end(organization)
        return known[1]

    async def _present(self, session: TenantSession) -> Keyring | None:
        """The keyring of an organization that has keys."""
        organization = session.context.organization
        keyring = self._uncommitted.get(session) or self._remembered(organization)
        if keyring is not None or not (stored := await stored_keys(session)):
            return keyring
        # Somebody else may have opened them meanwhile.
        return self._remembered(organization) or await self._opened(organization, stored)

    async def _with_first_key(self, session: TenantSession) -> Keyring:
        """The keyring of an organization that had no key."""
        organization = session.context.organization
        key_id = new_id()
        plain, wrapped = await self._fresh_key(organization, key_id, 1)
        if not await add_key(session, key_id, 1, wrapped):
            # Another transaction was first, and has committed.
            return await self._opened(organization, await stored_keys(session))
        key = DataKey(key_id, 1, AESGCM(plain))
        keyring = self._uncommitted[session] = self._keyring(organization, [key], key)
        return keyring

    async def _opened(self, organization: UUID, stored: Sequence[StoredKey]) -> Keyring:
        # From before the keys were opened: that may take a while, in which others are made.
        until = self._clock() + self._pace.known_for.total_seconds()
        keys = await asyncio.gather(*(self._data_key(organization, key) for key in stored))
        sealing = keys[stored.index(sealing_key(stored, self._pace))]
        keyring = self._keyring(organization, keys, sealing)
        self._known[organization] = until, keyring
        self._known.move_to_end(organization)
        while len(self._known) > self._known_organizations:
            self._known.popitem(last=False)
        return keyring

    def _keyring(self, organization: UUID, keys: Sequence[DataKey], sealing: DataKey | None) -> Keyring:
        return Keyring(self._schema, organization, keys, sealing, self._former)

    async def _data_key(self, organization: UUID, key: StoredKey) -> DataKey:
        return await self._opening.opened(key.id, lambda: self._unwrapped(organization, key))

    async def _unwrapped(self, organization: UUID, key: StoredKey) -> DataKey:
        context = self._context(organization, key.id, key.version)
        return DataKey(key.id, key.version, AESGCM(await self._wrapping.unwrap(key.wrapped, context)))

    async def _fresh_key(self, organization: UUID, key_id: UUID, version: int) -> tuple[bytes, Wrapped]:
        plain = urandom(_DATA_KEY_BYTES)
        return plain, await self._wrapping.wrap(plain, self._context(organization, key_id, version))

    def _context(self, organization: UUID, key_id: UUID, version: int) -> Mapping[str, str]:
        return {
            "schema": self._schema,
            "organization": str(organization),
            "data_key": str(key_id),
            "version": str(version),
        }
