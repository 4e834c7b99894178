"""Whether what is stored sealed opens by the keys that there are: a backup holds what they sealed, and none of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from os import environ
from uuid import UUID

import psycopg
from psycopg import sql

from chassis.secret import Secret
from chassis.vault.data_keys import StoredKey
from chassis.vault.settings import VaultSettings, wrapping_of
from chassis.vault.vault import Vault
from chassis.vault.wrapping import DoesNotOpen, Wrapped
from deploy.database.roles import role_list
from operations.backup.manifest import BackupUnusable
from operations.backup.postgres import tables

# One of each key-encryption key: what else the same one has wrapped opens as well.
_ONE_OF_EACH = """
    SELECT DISTINCT ON (wrapping_key) organization_id, id, version, wrapping_key, wrapped FROM {}
    ORDER BY wrapping_key
"""


@dataclass(frozen=True, slots=True)
class KeptKeys:
    """The schemas whose secrets open, and those that have secrets, and no keys were given for them."""

    open: Sequence[str]
    not_given: Sequence[str]


def keepers() -> dict[str, VaultSettings]:
    """Who keeps the keys of which schemas: their processes' variables, with the schema's name before them.

    Raises pydantic's ValidationError for variables that make no keeper.
    """
    return {
        schema: VaultSettings(_env_prefix=f"{schema.upper()}_")  # type: ignore[call-arg]
        for schema in role_list().schemas
        if any(name.startswith(f"{schema.upper()}_KEY_ENCRYPTION") for name in environ)
    }


async def open_data_keys(url: Secret, given: Mapping[str, VaultSettings]) -> KeptKeys:
    """Unwrap a data key of each key-encryption key. Raises BackupUnusable when one does not open, Unavailable."""
    stored = _one_of_each(url)
    for schema, settings in given.items():
        vault = Vault(schema, wrapping_of(settings))
        for organization, key in stored.get(schema, ()):
            await _open(schema, vault, organization, key)
    return KeptKeys(
        sorted(stored.keys() & given.keys()),
        sorted(schema for schema, rows in stored.items() if rows and schema not in given),
    )


def _one_of_each(url: Secret) -> dict[str, list[tuple[UUID, StoredKey]]]:
    with psycopg.connect(url.reveal()) as connection:
        return {
            schema: [
                (organization, StoredKey(key, version, Wrapped(wrapping_key, wrapped), timedelta()))
                for organization, key, version, wrapping_key, wrapped in connection.execute(
                    sql.SQL(_ONE_OF_EACH).format(sql.Identifier(schema, table))
                )
            ]
            for schema, table in tables(connection)
            if table == "data_keys"
        }


async def _open(schema: str, vault: Vault, organization: UUID, key: StoredKey) -> None:
    try:
        await vault.rewrapped(organization, key)
    except DoesNotOpen:
        raise BackupUnusable(
            f"The keys that are given for {schema} do not open what key {key.wrapped.key!r} has wrapped in it: with them its "
            "secrets would be lost."
        ) from None
