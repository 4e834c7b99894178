"""What this service keeps sealed, for who replaces the keys that seal it."""

from chassis.vault.sealed_columns import SealedColumn
from services.integrations.tables import authorizations, credentials, revocations

SEALED_COLUMNS = (
    SealedColumn(credentials, "sealed_token", row="connection_id"),
    SealedColumn(credentials, "sealed_refresh_token", row="connection_id"),
    SealedColumn(authorizations, "sealed_verifier"),
    SealedColumn(revocations, "sealed_token"),
)
