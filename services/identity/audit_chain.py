"""Whether the chains of the audit trail are whole, across all organizations, through the role `identity_platform`.

A chain alone shows what was changed, moved, added or taken out of it. That its end was cut off, or all of it written anew,
shows against anchors: the last hashes of an earlier day, kept where whoever can write to the database cannot.
"""

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Any, Self
from uuid import UUID

from sqlalchemy import Select, literal, select, true, tuple_

from chassis.database import RoleDatabase
from services.identity.audit import BEGINNING, AuditEvent
from services.identity.tables import audit_events, organizations

# Rows of one transaction: what is held in memory, however long the trail is.
_BATCH = 1000


@dataclass(frozen=True, slots=True)
class Anchor:
    """What an organization's chain held at one time: an event of it, by its hash."""

    organization_id: UUID
    sequence: int
    hash: bytes

    @classmethod
    def parse(cls, line: str) -> Self:
        """Read what `str` writes; raises ValueError for anything else."""
        organization_id, sequence, written = line.split()
        return cls(UUID(organization_id), int(sequence), bytes.fromhex(written))

    def __str__(self) -> str:
        return f"{self.organization_id} {self.sequence} {self.hash.hex()}"


@dataclass(frozen=True, slots=True)
class Break:
    """Where a chain is not what it was."""

    organization_id: UUID
    sequence: int
    what: str

    def __str__(self) -> str:
        return f"organization {self.organization_id}, sequence {self.sequence}: {self.what}"


async def anchors(database: RoleDatabase) -> AsyncIterator[Anchor]:
    """The last event of each organization's chain."""
    key = organizations.c.organization_id
    last = (
        select(audit_events.c.sequence, audit_events.c.hash)
        .where(audit_events.c.organization_id == key)
        .order_by(audit_events.c.sequence.desc())
        .limit(1)
        .lateral()
    )
    wanted = select(key, last.c.sequence, last.c.hash).join(last, true()).order_by(key).limit(_BATCH)
    async for row in _in_batches(database, wanted, (key,)):
        yield Anchor(**row)


async def breaks(database: RoleDatabase, known: Iterable[Anchor] = ()) -> AsyncIterator[Break]:
    """Every break of every chain, and what was known of a chain and is not there any more."""
    unmet = {(anchor.organization_id, anchor.sequence): anchor.hash for anchor in known}
    previous: AuditEvent | None = None
    async for event in _events(database):
        if previous is not None and previous.organization_id != event.organization_id:
            previous = None
        anchored = unmet.pop((event.organization_id, event.sequence), event.hash)
        what = _break_between(previous, event)
        if what is None and anchored != event.hash:
            what = "is not what the anchor knows"
        if what is not None:
            yield Break(event.organization_id, event.sequence, what)
        previous = event
    for organization_id, sequence in unmet:
        yield Break(organization_id, sequence, "is gone, though the anchor knows it")


def _break_between(previous: AuditEvent | None, event: AuditEvent) -> str | None:
    """What is wrong with an event that is found after another, or first."""
    sequence, hash_before = (previous.sequence, previous.hash) if previous else (0, BEGINNING)
    if event.sequence != sequence + 1:
        return f"comes after {sequence}: what was between them is gone"
    if event.previous_hash != hash_before:
        return "does not follow the event before it"
    if not event.is_as_written:
        return "is not what was written"
    return None


async def _events(database: RoleDatabase) -> AsyncIterator[AuditEvent]:
    """All events, organization by organization, each in its order."""
    key = (audit_events.c.organization_id, audit_events.c.sequence)
    async for row in _in_batches(database, select(audit_events).order_by(*key).limit(_BATCH), key):
        yield AuditEvent(**row)


async def _in_batches(
    database: RoleDatabase, wanted: Select[Any], key: tuple[Any, ...]
) -> AsyncIterator[dict[str, Any]]:
    """All rows of a statement that is ordered and limited, a short transaction a batch."""
    names = [column.name for column in key]
    batch = wanted
    while True:
        async with database.transaction() as connection:
            rows = [dict(row) for row in (await connection.execute(batch)).mappings()]
        for row in rows:
            yield row
        if len(rows) < _BATCH:
            return
        reached = [literal(rows[-1][name]) for name in names]
        batch = wanted.where(tuple_(*key) > tuple_(*reached))
