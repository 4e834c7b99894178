"""The rows of `data_keys`: each organization's own keys, wrapped, as `create_data_keys` makes the table in a schema.

A key is made at first need, or when the one before is to be replaced. Everybody who opens has heard of a new key before
anybody seals with it: those who know an organization's keys know them for a while only (`Pace.known_for`), and a key that is
not the first one seals once it is older than that by far (`Pace.settled_after`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import delete, text, update
from sqlalchemy.dialects.postgresql import insert as upsert

from chassis.database import TenantSession
from chassis.vault.tables import data_keys
from chassis.vault.wrapping import Wrapped


@dataclass(frozen=True, slots=True)
class Pace:
    """How long keys are known, and how old one is before it seals. What lies between is for transactions to end in."""

    known_for: timedelta
    settled_after: timedelta


PACE = Pace(timedelta(seconds=60), timedelta(seconds=120))

# By the clock of the database, which is one for all processes.
_STORED = text("""
    SELECT id, version, wrapped, wrapping_key, clock_timestamp() - created_at AS age FROM data_keys ORDER BY version
""")


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A data key as it is stored: numbered from 1 within its organization."""

    id: UUID
    version: int
    wrapped: Wrapped
    age: timedelta


async def stored_keys(session: TenantSession) -> Sequence[StoredKey]:
    """The keys of the session's organization, oldest first."""
    return [
        StoredKey(row.id, row.version, Wrapped(row.wrapping_key, bytes(row.wrapped)), row.age)
        for row in await session.execute(_STORED)
    ]


def sealing_key(keys: Sequence[StoredKey], pace: Pace) -> StoredKey:
    """The one to seal with: the newest of which all have heard. Of several, the first was heard of long ago."""
    settled = [key for key in keys[1:] if key.age >= pace.settled_after]
    return settled[-1] if settled else keys[0]


async def add_key(session: TenantSession, key_id: UUID, version: int, wrapped: Wrapped) -> bool:
    """Store a key; False when somebody else has stored one as that version, for whom this waits."""
    added = await session.scalar(
        upsert(data_keys)
        .values(id=key_id, version=version, wrapped=wrapped.ciphertext, wrapping_key=wrapped.key)
        .on_conflict_do_nothing()
        .returning(data_keys.c.version)
    )
    return added is not None


async def rewrap_key(session: TenantSession, key: StoredKey, wrapped: Wrapped) -> bool:
    """Store a key as it is wrapped now; False when it was wrapped again, or destroyed, meanwhile."""
    changed = await session.execute(
        update(data_keys)
        .where(data_keys.c.id == key.id, data_keys.c.wrapped == key.wrapped.ciphertext)
        .values(wrapped=wrapped.ciphertext, wrapping_key=wrapped.key)
    )
    return bool(changed.rowcount)


async def retire_keys(session: TenantSession, newest: StoredKey) -> None:
    """Destroy the keys before this one."""
    await session.execute(delete(data_keys).where(data_keys.c.version < newest.version))


async def destroy_keys(session: TenantSession) -> int:
    """Destroy all keys of the session's organization, and with them whatever they sealed. Answers how many there were.

    Processes that know them forget them within `Pace.known_for`.
    """
    return (await session.execute(delete(data_keys))).rowcount
