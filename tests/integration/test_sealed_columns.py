"""What is stored sealed is listed: of a column that nobody lists, `rotate-data-keys` would destroy the key that it needs."""

from typing import Any

import psycopg
import pytest

from chassis.secret import Secret
from chassis.vault.sealed_columns import SealedColumn
from deploy.database.bootstrap import DATABASE, url_in
from services.identity.api_keys import SEALED_COLUMNS as OF_IDENTITY
from services.sending.sealed_columns import SEALED_COLUMNS as OF_SENDING
from services.webhooks.endpoint_secrets import SEALED_COLUMNS as OF_WEBHOOKS

LISTED = {"identity": OF_IDENTITY, "sending": OF_SENDING, "webhooks": OF_WEBHOOKS}
# Sealed by keys that are no organization's.
OTHERWISE = {
    # A person's; by SEALING_KEYS.
    "identity.second_factors.sealed_seed",
    # Sealed where a mail begins, for the delivery process alone; by SEALED_MAIL_KEYS.
    "sending.message_contents.sealed_body",
}
_SEALED = """
    SELECT table_schema || '.' || table_name || '.' || column_name FROM information_schema.columns
    WHERE table_schema = %s AND data_type = 'bytea' AND (column_name LIKE 'sealed%%' OR column_name LIKE '%%sealed')
"""


@pytest.mark.parametrize("schema", ["identity", "contacts", "sending", "webhooks", "integrations"])
def test_every_sealed_column_is_listed(servers: Any, schema: str) -> None:
    listed = {_name(schema, column) for column in LISTED.get(schema, ())}
    url = url_in(Secret(servers.admin_database_url), DATABASE)
    with psycopg.connect(url.reveal()) as connection:
        stored = {name for (name,) in connection.execute(_SEALED, [schema]).fetchall()}
    assert stored - OTHERWISE == listed
    assert listed or schema in ("contacts", "integrations")


def _name(schema: str, column: SealedColumn) -> str:
    return f"{schema}.{column.table.name}.{column.column}"
