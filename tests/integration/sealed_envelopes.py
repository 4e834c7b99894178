"""What the house keeps in envelopes, as a thief has it who took the database, and the key-encryption keys that he did not take."""

from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

import psycopg
from psycopg.sql import SQL, Identifier

from chassis.sealing import Sealer
from chassis.secret import Secret, SecretBytes
from chassis.vault.envelopes import FORMAT, Envelopes
from chassis.vault.file_wrapping import FileWrapping
from chassis.vault.wrapping import DoesNotOpen, Wrapped, Wrapping
from deploy.local.secrets import Secrets
from tests.integration.house import House


@dataclass(frozen=True, slots=True)
class EnvelopePlace:
    """A column of a schema, and what its rows are told apart by."""

    schema: str
    table: str
    column: str
    row: str

    def __str__(self) -> str:
        return f"{self.schema}.{self.table}.{self.column}"

    def key(self, secrets: Secrets) -> str:
        """The key-encryption key."""
        return secrets.mail_key_encryption_key if self is MAILS else secrets.key_encryption_keys[self.schema]

    def wrapping(self, secrets: Secrets) -> FileWrapping:
        """Who has it."""
        return FileWrapping({"local-1": Secret(self.key(secrets))})

    async def opened(
        self, sealed: bytes, row: UUID, wrapping: Wrapping, former: Sealer | None = None
    ) -> SecretBytes:
        """What is in an envelope that stands in a row, as a process opens it. Raises DoesNotOpen."""
        envelopes = Envelopes(
            wrapping, schema=self.schema, table=self.table, column=self.column, former=former
        )
        return await envelopes.open(sealed, row=row)

    async def opens(self, sealed: bytes, row: UUID, wrapping: Wrapping, former: Sealer | None = None) -> bool:
        """Whether it does."""
        try:
            await self.opened(sealed, row, wrapping, former)
        except DoesNotOpen:
            return False
        return True


SEEDS = EnvelopePlace("identity", "second_factors", "sealed_seed", "user_id")
MAILS = EnvelopePlace("sending", "message_contents", "sealed_body", "message_id")
ENVELOPES = (SEEDS, MAILS)


class TakenForDataKey:
    """Has a key, and takes it for the data key of whatever it is to unwrap."""

    def __init__(self, key: str) -> None:
        self._key = b64decode(key)

    async def current_key(self) -> str:
        return ""

    async def wrap(self, plain: bytes, context: Mapping[str, str]) -> Wrapped:
        raise NotImplementedError

    async def unwrap(self, wrapped: Wrapped, context: Mapping[str, str]) -> bytes:
        return self._key


async def stored_envelopes(house: House, column: EnvelopePlace) -> dict[UUID, bytes]:
    """What stands in a column, by its row."""
    query = SQL("SELECT {row}, {column} FROM {schema}.{table} WHERE {column} IS NOT NULL").format(
        row=Identifier(column.row),
        column=Identifier(column.column),
        schema=Identifier(column.schema),
        table=Identifier(column.table),
    )
    async with await psycopg.AsyncConnection.connect(house.facts["database_url"]) as connection:
        rows = await (await connection.execute(query)).fetchall()
    return {row: bytes(sealed) for row, sealed in rows}


async def data_key(house: House, column: EnvelopePlace, sealed: bytes) -> bytes:
    """The data key in an envelope, unwrapped."""
    name, rest = _part(sealed[len(FORMAT) :])
    wrapped, _ = _part(rest)
    bound = {"column": str(column)}
    return await column.wrapping(house.secrets).unwrap(Wrapped(name.decode(), wrapped), bound)


def _part(written: bytes) -> tuple[bytes, bytes]:
    end = 2 + int.from_bytes(written[:2], "big")
    return written[2:end], written[end:]
