"""Notes that organizations keep sealed in the chassis' own schema, and whoever reads and writes them all the time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import Column, LargeBinary, MetaData, Table, Text, Uuid, insert, select, update

from chassis.columns import organization_id
from chassis.context import RequestContext
from chassis.database import Database
from chassis.identifiers import new_id
from chassis.vault.sealed_columns import SealedColumn
from chassis.vault.vault import Vault

things = Table(
    "things",
    MetaData(),
    organization_id(),
    Column("id", Uuid, primary_key=True),
    Column("name", Text, nullable=False),
    Column("sealed_note", LargeBinary),
)
NOTES = SealedColumn(things, "sealed_note")


@dataclass(slots=True)
class Notes:
    """What an organization has noted, as one process sees it; `known` is what it should read."""

    database: Database
    vault: Vault
    context: RequestContext
    known: dict[UUID, str] = field(default_factory=dict)

    async def add(self, text: str) -> UUID:
        row = new_id()
        async with self.database.tenant_transaction(self.context) as session:
            sealed = (await self.vault.keyring(session)).seal(text.encode(), **place(row))
            await session.execute(insert(things).values(id=row, name=str(row), sealed_note=sealed))
        self.known[row] = text
        return row

    async def change(self, row: UUID, text: str) -> None:
        async with self.database.tenant_transaction(self.context) as session:
            sealed = (await self.vault.keyring(session)).seal(text.encode(), **place(row))
            await session.execute(update(things).where(things.c.id == row).values(sealed_note=sealed))
        self.known[row] = text

    async def read(self) -> dict[UUID, str]:
        async with self.database.tenant_transaction(self.context, read_only=True) as session:
            keyring = await self.vault.keyring(session)
            rows = await session.execute(
                select(things.c.id, things.c.sealed_note).where(things.c.sealed_note.is_not(None))
            )
            return {row.id: keyring.open(bytes(row.sealed_note), **place(row.id)).reveal() for row in rows}


def place(row: UUID) -> Any:
    return {"table": "things", "row": row, "column": "sealed_note"}


@asynccontextmanager
async def in_use(notes: Notes, reader: Notes) -> AsyncIterator[None]:
    """One process changes notes and another reads them, without a pause; whatever fails, fails the block."""
    is_over = asyncio.Event()

    async def live() -> None:
        turn = 0
        while not is_over.is_set():
            turn += 1
            row = list(notes.known)[turn % len(notes.known)]
            await notes.change(row, f"change {turn}")
            assert await reader.read() == notes.known

    life = asyncio.create_task(live())
    try:
        yield
    finally:
        is_over.set()
        await life
