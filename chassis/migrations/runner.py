"""Brings a service's schema to the head of its migrations: `migrate(owner_url, package="services.contacts")`.

Migrations are Alembic scripts in `<package>/migrations/versions`, named `0001_what_it_does.py` with `revision = "0001"`.
A service has no environment of its own: this is it.
"""

from importlib.util import find_spec
from pathlib import Path
from zlib import crc32

import psycopg
from psycopg import sql

from chassis.secret import Secret


def migrate(owner_url: Secret, package: str) -> list[str]:
    """Apply what is missing, one transaction a migration; answers the revisions applied.

    Runs for the same schema wait for each other. Blocks: call it from a command or a thread.
    """
    schema = package.rpartition(".")[2]
    versions = versions_of(package)
    head = _head(versions)
    with psycopg.connect(owner_url.reveal(), autocommit=True) as connection:
        if _current(connection, schema) == head:
            return []
        connection.execute("SELECT pg_advisory_lock(%s)", [crc32(f"migrate {schema}".encode())])
        if _current(connection, schema) == head:
            return []
        # Loaded only now, since most runs find nothing to do.
        from chassis.migrations.upgrade import upgrade  # noqa: PLC0415

        return upgrade(owner_url, schema, versions)


def head(package: str) -> str:
    """The newest revision that a service's code knows of its schema. Raises LookupError."""
    return _head(versions_of(package))


def versions_of(package: str) -> Path:
    """The folder of a service's migrations; raises LookupError for a package that does not exist."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise LookupError(f"there is no package {package!r}")
    return Path(spec.submodule_search_locations[0], "migrations", "versions")


def _head(versions: Path) -> str:
    names = sorted(path.name for path in versions.glob("[0-9]*_*.py"))
    if not names:
        raise LookupError(f"no migrations in {versions}")
    return names[-1].partition("_")[0]


def _current(connection: psycopg.Connection, schema: str) -> str | None:
    if connection.execute("SELECT to_regclass(%s)", [f"{schema}.alembic_version"]).fetchone() == (None,):
        return None
    query = sql.SQL("SELECT version_num FROM {}").format(sql.Identifier(schema, "alembic_version"))
    row = connection.execute(query).fetchone()
    return row[0] if row else None
