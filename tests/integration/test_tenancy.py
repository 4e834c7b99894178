"""Tenancy is structural: the rules hold for every table of every schema, and each one bites when it is broken."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from chassis.migrations.runner import migrate
from chassis.secret import Secret
from deploy.database.bootstrap import DATABASE, alone, bootstrap, url_in
from deploy.database.roles import role_list
from tests.integration.tenancy_rules import broken_rules, tenant_policies

# What somebody might do in a migration, and the rule that has to notice.
MISTAKES = {
    "a table without the organization": (
        "CREATE TABLE contacts.notes (id uuid PRIMARY KEY); ALTER TABLE contacts.notes OWNER TO contacts_owner",
        "a tenant table has organization_id uuid NOT NULL: contacts.notes",
    ),
    "a table without a primary key": (
        "CREATE TABLE contacts.notes (organization_id uuid NOT NULL)",
        "a tenant table has a primary key: contacts.notes",
    ),
    "an organization that may be NULL": (
        "ALTER TABLE contacts.imports DROP CONSTRAINT imports_pkey CASCADE;"
        "ALTER TABLE contacts.imports ALTER organization_id DROP NOT NULL",
        "a tenant table has organization_id uuid NOT NULL: contacts.imports",
    ),
    "a unique key that reveals others": (
        "CREATE UNIQUE INDEX contacts_by_email ON contacts.contacts (email)",
        "primary and unique keys begin with the organization",
    ),
    "a foreign key to another tenant's row": (
        "CREATE TABLE contacts.notes (organization_id uuid NOT NULL, id uuid, list_organization uuid, list_id uuid,"
        " PRIMARY KEY (organization_id, id),"
        " FOREIGN KEY (list_organization, list_id) REFERENCES contacts.lists)",
        "foreign keys begin with the organization on both sides: contacts.notes",
    ),
    "row-level security that is not forced": (
        "ALTER TABLE sending.messages NO FORCE ROW LEVEL SECURITY",
        "row-level security is enabled and forced: sending.messages",
    ),
    "row-level security that is off": (
        "ALTER TABLE sending.suppressions DISABLE ROW LEVEL SECURITY",
        "row-level security is enabled and forced: sending.suppressions",
    ),
    "a table that keeps what is erased": (
        "REVOKE DELETE ON contacts.imports FROM contacts_app",
        "an organization's rows can be erased: contacts.imports",
    ),
    "a second policy that lets all through": (
        "CREATE POLICY convenient ON contacts.contacts TO contacts_app USING (true)",
        "the app role has one policy, on everything, for its organization alone: contacts.contacts",
    ),
    "a policy that hides what is an organization's own": (
        "CREATE POLICY hidden ON contacts.contacts AS RESTRICTIVE TO contacts_app USING (false)",
        "the app role has one policy, on everything, for its organization alone: contacts.contacts",
    ),
    "a history that may be deleted from": (
        "DROP POLICY erased ON sending.message_events",
        "a listed table is only added to, and so is no other: sending.message_events",
    ),
    "a history that nobody listed": (
        "CREATE POLICY erased ON contacts.lists AS RESTRICTIVE FOR DELETE TO contacts_app"
        " USING (EXISTS (SELECT FROM contacts.erasures))",
        "a listed table is only added to, and so is no other: contacts.lists",
    ),
    "an erasure that nobody noted": (
        "ALTER POLICY erased ON contacts.exports USING (true)",
        "the app role has one policy, on everything, for its organization alone: contacts.exports",
    ),
    "a policy for everybody": (
        "CREATE POLICY convenient ON contacts.contacts USING (true)",
        "the app role has one policy, on everything, for its organization alone: contacts.contacts",
    ),
    "a policy that checks no writes": (
        "ALTER POLICY tenant ON contacts.contacts WITH CHECK (true)",
        "the app role has one policy, on everything, for its organization alone: contacts.contacts",
    ),
    "a policy across organizations that nobody listed": (
        "CREATE POLICY across_tenants ON contacts.contacts TO contacts_scheduler USING (true)",
        "a policy across organizations is for a listed role: contacts.contacts",
    ),
    "TRUNCATE for the app": (
        "GRANT TRUNCATE ON contacts.contacts TO contacts_app",
        "nobody but the owner may truncate, refer to, or put triggers on a table",
    ),
    "a grant to everybody": (
        "GRANT SELECT ON contacts.contacts TO PUBLIC",
        "nothing is granted to everybody",
    ),
    "a grant that nobody listed": (
        "GRANT SELECT (email) ON contacts.contacts TO contacts_scheduler",
        "granted and not listed: contacts_scheduler contacts contacts SELECT email",
    ),
    "a grant across services": (
        "GRANT SELECT ON contacts.contacts TO sending_app",
        "granted and not listed: sending_app contacts contacts SELECT *",
    ),
    "a listed grant that is not there": (
        "REVOKE SELECT ON sending.delivery_leases FROM sending_scheduler",
        "listed and not granted: sending_scheduler sending delivery_leases SELECT *",
    ),
    "a table of somebody else's": (
        "ALTER TABLE contacts.lists OWNER TO sending_owner",
        "tables belong to their schema's owner",
    ),
    "a view that runs as its owner": (
        "CREATE VIEW contacts.everybody AS SELECT * FROM contacts.contacts",
        "a view runs as who asks, and there is no materialized view",
    ),
    "a materialized view": (
        "CREATE MATERIALIZED VIEW contacts.everybody AS SELECT * FROM contacts.contacts",
        "a view runs as who asks, and there is no materialized view",
    ),
    "a function that runs as its owner": (
        "CREATE FUNCTION contacts.count_all() RETURNS bigint LANGUAGE sql SECURITY DEFINER"
        " AS 'SELECT count(*) FROM contacts.contacts'",
        "no function runs as its owner",
    ),
    "a role that bypasses policies": (
        "ALTER ROLE contacts_app BYPASSRLS",
        "no role of the platform reaches past row-level security: contacts_app",
    ),
    "a role that becomes its owner": (
        "GRANT contacts_owner TO contacts_app",
        "no role of the platform reaches past row-level security: contacts_app",
    ),
}


@pytest.fixture(scope="module")
def copy(servers: Any) -> Iterator[str]:
    """The platform's database once more, for this test to break: same schemas, same roles, nobody else in it."""
    admin_url = Secret(servers.admin_database_url)
    name = f"tenancy_{uuid4().hex}"
    bootstrap(admin_url, servers.secrets.role_passwords(), name)
    for schema in role_list().schemas:
        password = servers.secrets.database_roles[f"{schema}_owner"]
        owner = f"postgresql://{schema}_owner:{password}@{servers.addresses.database}/{name}"
        migrate(Secret(owner), f"services.{schema}")
    yield url_in(admin_url, name).reveal()
    with psycopg.connect(admin_url.reveal(), autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def catalog(servers: Any, copy: str) -> Iterator[psycopg.Connection]:
    """A superuser's transaction, which is rolled back. Roles are the whole server's, so it is alone with them."""
    with alone(Secret(servers.admin_database_url)), psycopg.connect(copy) as connection:
        yield connection
        connection.rollback()


def test_the_running_database_keeps_every_tenancy_rule(servers: Any) -> None:
    with psycopg.connect(url_in(Secret(servers.admin_database_url), DATABASE).reveal()) as connection:
        assert broken_rules(connection, role_list()) == []


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_a_migration_is_noticed(catalog: psycopg.Connection, mistake: str) -> None:
    statements, noticed = MISTAKES[mistake]
    assert broken_rules(catalog, role_list()) == []
    catalog.execute(statements)
    assert any(broken.startswith(noticed) for broken in broken_rules(catalog, role_list()))


def test_each_policy_that_is_dropped_is_missed(catalog: psycopg.Connection) -> None:
    policies = tenant_policies(catalog, role_list())
    assert len(policies) > 20
    for schema, table, policy in policies:
        with catalog.transaction(force_rollback=True):
            catalog.execute(
                sql.SQL("DROP POLICY {} ON {}").format(sql.Identifier(policy), sql.Identifier(schema, table))
            )
            assert any(f"{schema}.{table}" in broken for broken in broken_rules(catalog, role_list()))
