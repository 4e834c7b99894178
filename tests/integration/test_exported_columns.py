"""Of every column that there is, it is said how it is given to an organization that leaves, or why it is not."""

import re
from collections.abc import Callable
from typing import Any, TypeAlias

import psycopg
import pytest
from psycopg import sql

from chassis.context import RequestContext
from chassis.database import Database
from chassis.export import Export, ExportRules
from chassis.identifiers import new_id
from chassis.secret import Secret
from deploy.database.bootstrap import DATABASE, url_in
from deploy.database.roles import role_list
from services.contacts.exported_columns import EXPORT_RULES as OF_CONTACTS
from services.identity.exported_columns import EXPORT_RULES as OF_IDENTITY
from services.integrations.exported_columns import EXPORT_RULES as OF_INTEGRATIONS
from services.sending.exported_columns import EXPORT_RULES as OF_SENDING
from services.webhooks.exported_columns import EXPORT_RULES as OF_WEBHOOKS

ServiceEnvironment: TypeAlias = Callable[[str], dict[str, str]]

RULES: dict[str, ExportRules] = {
    "identity": OF_IDENTITY,
    "contacts": OF_CONTACTS,
    "sending": OF_SENDING,
    "webhooks": OF_WEBHOOKS,
    "integrations": OF_INTEGRATIONS,
}
# What a column is called that holds a secret, or what is made of one.
_SECRET = r"(token|secret|password|sealed|salt|verifier|hash|digest)(_|$)"
# As above, and no secret: what anybody can make who has the address, and what the audit trails are verified by.
NO_SECRETS = {"email_digest", "hash", "previous_hash"}

# As a superuser sees them, whatever a service may.
_COLUMNS = """
    SELECT c.relname, a.attname, a.attname ~ %(secret)s AND format_type(a.atttypid, NULL) IN ('bytea', 'text', 'json', 'jsonb')
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE c.relnamespace = %(schema)s::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
      AND EXISTS (SELECT FROM pg_attribute o WHERE o.attrelid = c.oid AND o.attname = 'organization_id')
      AND a.attname <> 'organization_id'
"""


def test_every_service_says_how_its_rows_are_given() -> None:
    assert RULES.keys() == set(role_list().schemas)


@pytest.mark.parametrize("schema", RULES)
async def test_every_column_of_an_organization_is_given_or_it_is_said_why_it_is_not(
    servers: Any, service_environment: ServiceEnvironment, schema: str
) -> None:
    rules = RULES[schema]
    async with Database(Secret(service_environment(schema)["DATABASE_URL"]), schema=schema) as database:
        tables = await Export(database, f"services.{schema}", rules).tables()
    given = {(table.name, column) for table in tables for column in table.given}
    with psycopg.connect(url_in(Secret(servers.admin_database_url), DATABASE).reveal()) as connection:
        found = connection.execute(_COLUMNS, {"schema": schema, "secret": _SECRET}).fetchall()
    left_out = {(table, column) for table, column, _ in found if rules.reason_for_leaving_out(table, column)}
    assert {(table, column) for table, column, _ in found} == left_out | {
        (table, column) for table, column in given if table not in rules.narrowed
    }
    assert not left_out & given
    secrets = {(table, column) for table, column, is_secret in found if is_secret}
    assert {column for _, column in secrets & given} <= NO_SECRETS
    names = {f"{table}.{column}" for table, column, _ in found} | {table for table, *_ in found}
    assert rules.left_out.keys() | rules.readable.keys() <= names


# Some value of each type that a key has.
SOME_VALUE = {
    "uuid": "00000000-0000-7000-8000-000000000000",
    "text": "a",
    "integer": "1",
    "bigint": "1",
    "boolean": "false",
    "bytea": "\\x00",
    "date": "2026-01-31",
    "timestamp with time zone": "2026-01-31 09:00:00+00",
    "xid8": "1",
}


@pytest.mark.parametrize("schema", RULES)
async def test_every_set_of_every_table_is_read_by_its_key_however_many_rows_there_are(
    service_environment: ServiceEnvironment, schema: str
) -> None:
    url = Secret(service_environment(schema)["DATABASE_URL"])
    context = RequestContext.of_process(schema, new_id())
    async with Database(url, schema=schema) as database:
        tables = await Export(database, f"services.{schema}", RULES[schema]).tables()
        async with database.tenant_transaction(context, read_only=True) as session:
            # There are few rows here: what the planner would do with many.
            for way in ("seqscan", "bitmapscan", "sort", "incremental_sort"):
                await session.driver.execute(f"SET LOCAL enable_{way} = off")
            for table in tables:
                if not table.key:
                    continue
                query = sql.SQL("EXPLAIN ") + table.set_of(2, after=True)
                found = await session.driver.execute(query, [SOME_VALUE[kind] for kind in table.key.values()])
                plan = "\n".join(line for (line,) in await found.fetchall())
                assert "Index Cond" in plan, (table.name, plan)
                assert not re.search(r"Seq Scan|-> +Sort|Disabled", plan), (table.name, plan)


async def test_of_the_accounts_of_members_no_more_is_given_than_their_organization_sees(
    service_environment: ServiceEnvironment,
) -> None:
    url = Secret(service_environment("identity")["DATABASE_URL"])
    async with Database(url, schema="identity") as database:
        tables = await Export(database, "services.identity", OF_IDENTITY).tables()
    [users] = [table for table in tables if table.name == "users"]
    assert users.given.keys() == {
        "id",
        "email",
        "name",
        "created_at",
        "email_verified_at",
        "password_changed_at",
    }
