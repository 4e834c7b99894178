"""A schema that is no service's, migrated and with its roles, for the chassis to be tried on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
from psycopg import sql
from sqlalchemy import make_url

from chassis.secret import Secret

ROLES = ("owner", "app", "relay", "scheduler")
PASSWORD = "probe"

THINGS = '''
"""Things, and nothing else."""

from alembic import op

from chassis.migrations.ddl import (
    ORGANIZATION_ID, create_chassis_tables, create_data_keys, create_erasures, open_to, platform_table, protect, schema
)

revision = "0001"
down_revision = None


def upgrade():
    create_chassis_tables()
    create_data_keys()
    op.execute(f"""
        CREATE TABLE things (
            {ORGANIZATION_ID},
            id uuid NOT NULL DEFAULT uuidv7(),
            name text NOT NULL,
            due_at timestamptz,
            sealed_note bytea,
            PRIMARY KEY (organization_id, id),
            UNIQUE (organization_id, name)
        )
    """)
    protect("things")
    open_to(f"{schema()}_scheduler", "things", "SELECT", columns=["organization_id", "id", "due_at"])
    # Parts of things, which may have parts; to what befell them is only added.
    op.execute(f"""
        CREATE TABLE parts (
            {ORGANIZATION_ID},
            id uuid NOT NULL DEFAULT uuidv7(),
            thing_id uuid NOT NULL,
            part_of uuid,
            PRIMARY KEY (organization_id, id),
            FOREIGN KEY (organization_id, thing_id) REFERENCES things,
            FOREIGN KEY (organization_id, part_of) REFERENCES parts
        )
    """)
    protect("parts")
    op.execute(f"""
        CREATE TABLE findings (
            {ORGANIZATION_ID},
            id uuid NOT NULL DEFAULT uuidv7(),
            part_id uuid NOT NULL,
            PRIMARY KEY (organization_id, id),
            FOREIGN KEY (organization_id, part_id) REFERENCES parts
        )
    """)
    protect("findings", "SELECT, INSERT")
    create_erasures(["findings"])
    # Of nobody's organization.
    op.execute("CREATE TABLE seeds (id uuid PRIMARY KEY, sealed_seed bytea NOT NULL)")
    platform_table("seeds", {f"{schema()}_scheduler": "SELECT, INSERT, UPDATE, DELETE"})
'''


@dataclass(frozen=True)
class Probe:
    """A database with one migrated schema and its roles, which is no service's."""

    admin_url: Secret
    database: str
    schema: str
    packages: Path

    def url(self, role: str) -> Secret:
        """As whom to connect: `owner`, `app`, `relay` or `scheduler`."""
        url = make_url(self.admin_url.reveal()).set(
            database=self.database, username=f"{self.schema}_{role}", password=PASSWORD
        )
        return Secret(url.render_as_string(hide_password=False))

    def superuser_url(self) -> Secret:
        url = make_url(self.admin_url.reveal()).set(database=self.database)
        return Secret(url.render_as_string(hide_password=False))

    def look(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """What a superuser sees, past every policy."""
        with psycopg.connect(self.superuser_url().reveal(), autocommit=True) as connection:
            connection.execute(sql.SQL("SET search_path TO {}").format(sql.Identifier(self.schema)))
            return connection.execute(query, parameters).fetchall()

    def create_schema(self, schema: str) -> None:
        """Create an empty schema and its roles."""
        with psycopg.connect(self.superuser_url().reveal(), autocommit=True) as connection:
            for role in ROLES:
                name = sql.Identifier(f"{schema}_{role}")
                connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(name))
                connection.execute(
                    sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(name, sql.Literal(PASSWORD))
                )
                connection.execute(
                    sql.SQL("ALTER ROLE {} SET search_path = {}").format(name, sql.Identifier(schema))
                )
            names = {role: sql.Identifier(f"{schema}_{role}") for role in ROLES}
            connection.execute(
                sql.SQL("CREATE SCHEMA {} AUTHORIZATION {}").format(sql.Identifier(schema), names["owner"])
            )
            connection.execute(
                sql.SQL("GRANT USAGE ON SCHEMA {} TO {}, {}, {}").format(
                    sql.Identifier(schema), names["app"], names["relay"], names["scheduler"]
                )
            )

    def new_role(self, options: str) -> Secret:
        """As whom to connect to be a role with these options."""
        role = f"{self.schema}_{uuid4().hex[:8]}"
        with psycopg.connect(self.superuser_url().reveal(), autocommit=True) as connection:
            connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}' {options}")
            connection.execute(f"ALTER ROLE {role} SET search_path = {self.schema}")
            connection.execute(f"GRANT USAGE ON SCHEMA {self.schema} TO {role}")
        url = make_url(self.superuser_url().reveal()).set(username=role, password=PASSWORD)
        return Secret(url.render_as_string(hide_password=False))

    def write_migration(self, package: str, name: str, text: str) -> None:
        """Write a migration script of a package that exists for this test run only."""
        versions = self.packages / package / "migrations" / "versions"
        versions.mkdir(parents=True, exist_ok=True)
        (self.packages / package / "__init__.py").touch()
        (versions / name).write_text(text)
