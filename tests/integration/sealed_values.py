"""What the house keeps sealed, as a thief has it who took the database; and the data keys, as nobody has them without the key that wraps."""

from dataclasses import dataclass
from uuid import UUID

import psycopg
from psycopg.sql import SQL, Identifier

from chassis.secret import Secret
from chassis.vault.file_wrapping import FileWrapping
from chassis.vault.sealed_columns import SealedColumn
from chassis.vault.wrapping import Wrapped
from services.identity.api_keys import SEALED_COLUMNS as OF_IDENTITY
from services.integrations.sealed_columns import SEALED_COLUMNS as OF_INTEGRATIONS
from services.sending.sealed_columns import SEALED_COLUMNS as OF_SENDING
from services.webhooks.endpoint_secrets import SEALED_COLUMNS as OF_WEBHOOKS
from tests.integration.house import House

# What data keys seal, by schema: `test_sealed_columns.py` sees to it that nothing is missing.
LISTED = {
    "identity": OF_IDENTITY,
    "integrations": OF_INTEGRATIONS,
    "sending": OF_SENDING,
    "webhooks": OF_WEBHOOKS,
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a sealed value stands."""

    schema: str
    organization: UUID
    table: str
    row: UUID
    column: str


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A data key as it is stored."""

    schema: str
    organization: UUID
    id: UUID
    version: int
    wrapped: Wrapped

    async def unwrapped(self, wrapping: FileWrapping) -> bytes:
        """The key itself. Raises DoesNotOpen."""
        bound = {
            "schema": self.schema,
            "organization": str(self.organization),
            "data_key": str(self.id),
            "version": str(self.version),
        }
        return await wrapping.unwrap(self.wrapped, bound)


def wrapping_of(house: House, schema: str) -> FileWrapping:
    """The key-encryption key of a schema."""
    return FileWrapping({"local-1": Secret(house.secrets.key_encryption_keys[schema])})


async def stored_keys(house: House, schema: str) -> list[StoredKey]:
    """The data keys of a schema, of all organizations."""
    query = SQL("SELECT organization_id, id, version, wrapping_key, wrapped FROM {}.data_keys")
    async with await psycopg.AsyncConnection.connect(house.facts["database_url"]) as connection:
        rows = await (await connection.execute(query.format(Identifier(schema)))).fetchall()
    return [
        StoredKey(schema, organization, key_id, version, Wrapped(name, bytes(wrapped)))
        for organization, key_id, version, name, wrapped in rows
    ]


async def stored_values(house: House, schema: str, sealed: SealedColumn) -> dict[Place, bytes]:
    """What stands in a sealed column, of all organizations."""
    table, row, column = sealed.table.name, sealed.row, sealed.column
    query = SQL("SELECT organization_id, {row}, {column} FROM {schema}.{table} WHERE {column} IS NOT NULL")
    names = {"row": row, "column": column, "schema": schema, "table": table}
    async with await psycopg.AsyncConnection.connect(house.facts["database_url"]) as connection:
        found = await connection.execute(
            query.format(**{name: Identifier(value) for name, value in names.items()})
        )
        rows = await found.fetchall()
    return {
        Place(schema, organization, table, row_id, column): bytes(value)
        for organization, row_id, value in rows
    }
