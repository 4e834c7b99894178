"""What is stored sealed is listed: of a column that nobody lists, `rotate-data-keys` would destroy the key that it needs."""

from typing import Any

import psycopg
import pytest

from chassis.secret import Secret
from chassis.vault.sealed_columns import SealedColumn
from deploy.database.bootstrap import DATABASE, url_in
from services.identity.second_factors import SEEDS
from tests.integration.sealed_envelopes import ENVELOPES
from tests.integration.sealed_values import LISTED

# A person's, and what is sealed where a mail begins, for the delivery process alone.
IN_ENVELOPES = {str(place) for place in ENVELOPES}
_SEALED = """
    SELECT table_schema || '.' || table_name || '.' || column_name FROM information_schema.columns
    WHERE table_schema = %s AND data_type = 'bytea' AND (column_name LIKE 'sealed%%' OR column_name LIKE '%%sealed')
"""


# What `rotate-data-keys` does to a column, and as whom.
_NEEDED = """
    SELECT has_column_privilege(%(schema)s || '_scheduler', %(table)s, 'organization_id', 'SELECT')
       AND has_column_privilege(%(schema)s || '_app', %(table)s, %(row)s, 'SELECT')
       AND has_column_privilege(%(schema)s || '_app', %(table)s, %(column)s, 'SELECT')
       AND has_column_privilege(%(schema)s || '_app', %(table)s, %(column)s, 'UPDATE')
"""

_COLUMNS = """
    SELECT attname FROM pg_attribute
    WHERE has_column_privilege(%s, attrelid, attnum, '{privilege}') AND attrelid = %s::regclass AND attnum > 0
"""
_CHANGED, _SEEN = (_COLUMNS.format(privilege=privilege) for privilege in ("UPDATE", "SELECT"))


def looking(servers: Any) -> psycopg.Connection:
    return psycopg.connect(url_in(Secret(servers.admin_database_url), DATABASE).reveal())


@pytest.mark.parametrize("schema", ["identity", "contacts", "sending", "webhooks", "integrations"])
def test_every_sealed_column_is_listed(servers: Any, schema: str) -> None:
    listed = {_name(schema, column) for column in LISTED.get(schema, ())}
    with looking(servers) as connection:
        stored = {name for (name,) in connection.execute(_SEALED, [schema]).fetchall()}
    assert stored - IN_ENVELOPES == listed


@pytest.mark.parametrize("schema", LISTED)
def test_what_is_listed_may_be_sealed_again(servers: Any, schema: str) -> None:
    with looking(servers) as connection:
        for column in LISTED[schema]:
            place = {"table": f"{schema}.{column.table.name}", "row": column.row, "column": column.column}
            assert connection.execute(_NEEDED, place | {"schema": schema}).fetchone() == (True,), place


def test_what_is_in_envelopes_may_be_sealed_again_by_the_scheduler_and_nothing_else_be_changed_by_it(
    servers: Any,
) -> None:
    with looking(servers) as connection:
        changed = connection.execute(_CHANGED, ["identity_scheduler", "identity.second_factors"]).fetchall()
        seen = connection.execute(_SEEN, ["identity_scheduler", "identity.second_factors"]).fetchall()
    assert {name for (name,) in changed} == {SEEDS.column}
    assert {name for (name,) in seen} == {SEEDS.row, SEEDS.column}


def _name(schema: str, column: SealedColumn) -> str:
    return f"{schema}.{column.table.name}.{column.column}"
