"""Makes the database, its schemas and its roles, as an administrator: all that migrations need to begin.

Again is harmless; a password that was given before is replaced by the one given now.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

from chassis.secret import Secret
from deploy.database.roles import Role, role_list

DATABASE = "flownurture"
# Whatever a role was made with by hand, these it must not have: they reach past row-level security.
_NO_POWERS = sql.SQL("LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE NOREPLICATION NOINHERIT")
_LOCK = 7_401_502


def bootstrap(admin_url: Secret, passwords: Mapping[str, Secret], database: str = DATABASE) -> None:
    """Make everything. `passwords` has one for each role of the list. Raises KeyError when one is missing."""
    with alone(admin_url) as administration:
        _create_database(administration, database)
        with psycopg.connect(url_in(admin_url, database).reveal()) as connection:
            name = sql.Identifier(database)
            connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(name))
            connection.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
            for role in role_list().roles:
                _create_role(connection, role, passwords[role.name], database)


@contextmanager
def alone(admin_url: Secret) -> Iterator[psycopg.Connection]:
    """A connection of the administrator's, while which nobody else who asks for one changes the server's roles.

    Roles belong to the whole server and a lock to one database of it: so it is held in the administrator's.
    """
    with psycopg.connect(admin_url.reveal(), autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", [_LOCK])
        yield connection


def url_in(url: Secret, database: str) -> Secret:
    """The same server and role, in another database."""
    # Only the path changes: passwords stay encoded, and what follows (sslmode and the like) stays.
    return Secret(urlsplit(url.reveal())._replace(path=f"/{database}").geturl())


def _create_database(connection: psycopg.Connection, database: str) -> None:
    exists = connection.execute("SELECT FROM pg_database WHERE datname = %s", [database]).fetchone()
    if exists is None:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))


def _create_role(connection: psycopg.Connection, role: Role, password: Secret, database: str) -> None:
    name, schema = sql.Identifier(role.name), sql.Identifier(role.schema)
    exists = connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [role.name]).fetchone()
    verb = sql.SQL("CREATE" if exists is None else "ALTER")
    connection.execute(
        sql.SQL("{} ROLE {} {} PASSWORD {}").format(verb, name, _NO_POWERS, sql.Literal(password.reveal()))
    )
    connection.execute(
        sql.SQL("ALTER ROLE {} IN DATABASE {} SET search_path = {}").format(
            name, sql.Identifier(database), schema
        )
    )
    connection.execute(
        sql.SQL("GRANT CONNECT{} ON DATABASE {} TO {}").format(
            # Bulk loads go through temporary tables.
            sql.SQL(", TEMPORARY" if role.name.endswith("_app") else ""),
            sql.Identifier(database),
            name,
        )
    )
    if role.owns:
        connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {} AUTHORIZATION {}").format(schema, name))
    connection.execute(sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(schema, name))
