"""What an administrator's bootstrap makes, and that making it again is harmless."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from chassis.secret import Secret
from deploy.database.bootstrap import bootstrap, url_in
from deploy.database.roles import role_list

ROLES = [role.name for role in role_list().roles]


@pytest.fixture(scope="module")
def database(servers: Any) -> Iterator[str]:
    """A database of these tests' own, with the platform's roles in it: none of them changes it."""
    admin_url = Secret(servers.admin_database_url)
    name = f"bootstrap_{uuid4().hex}"
    bootstrap(admin_url, servers.secrets.role_passwords(), name)
    yield name
    with psycopg.connect(admin_url.reveal(), autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _as(servers: Any, role: str, database: str) -> psycopg.Connection:
    password = servers.secrets.database_roles[role]
    return psycopg.connect(f"postgresql://{role}:{password}@{servers.addresses.database}/{database}")


def _catalog(admin_url: str, database: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url_in(Secret(admin_url), database).reveal()) as connection:
        return [
            *connection.execute(
                "SELECT nspname::text, nspowner::regrole::text, nspacl::text FROM pg_namespace"
                " WHERE nspname !~ '^pg_' ORDER BY 1"
            ),
            *connection.execute("SELECT datacl::text FROM pg_database WHERE datname = current_database()"),
            *connection.execute(
                "SELECT rolname::text, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, setconfig::text"
                " FROM pg_roles LEFT JOIN pg_db_role_setting ON setrole = pg_roles.oid AND setdatabase ="
                " (SELECT oid FROM pg_database WHERE datname = current_database())"
                " WHERE rolname = ANY(%s) ORDER BY 1",
                [ROLES],
            ),
        ]


def test_again_is_harmless(servers: Any, database: str) -> None:
    before = _catalog(servers.admin_database_url, database)
    bootstrap(Secret(servers.admin_database_url), servers.secrets.role_passwords(), database)
    assert _catalog(servers.admin_database_url, database) == before


@pytest.mark.parametrize("role", ROLES)
def test_a_role_has_no_powers_and_works_in_its_schema_alone(servers: Any, database: str, role: str) -> None:
    schema = next(each.schema for each in role_list().roles if each.name == role)
    with _as(servers, role, database) as connection:
        powers = connection.execute(
            "SELECT rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication,"
            " EXISTS (SELECT FROM pg_auth_members WHERE member = pg_roles.oid OR roleid = pg_roles.oid)"
            " FROM pg_roles WHERE rolname = current_user"
        ).fetchone()
        assert powers == (False,) * 6
        assert connection.execute("SELECT current_schemas(false)::text[]").fetchone() == ([schema],)
        usable = connection.execute(
            "SELECT name, has_schema_privilege(name, 'USAGE'), has_schema_privilege(name, 'CREATE')"
            " FROM unnest(%s::text[]) AS name",
            [[*role_list().schemas, "public"]],
        )
        assert set(usable) == {
            (name, name == schema, name == schema and role == f"{schema}_owner")
            for name in (*role_list().schemas, "public")
        }


def test_a_database_is_closed_to_whoever_is_not_on_the_list(servers: Any, database: str) -> None:
    stranger, password = f"stranger_{uuid4().hex}", uuid4().hex
    name = sql.Identifier(stranger)
    with psycopg.connect(servers.admin_database_url, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(name, sql.Literal(password)))
        try:
            with pytest.raises(psycopg.OperationalError, match="CONNECT privilege"):
                psycopg.connect(f"postgresql://{stranger}:{password}@{servers.addresses.database}/{database}")
        finally:
            admin.execute(sql.SQL("DROP ROLE {}").format(name))


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://admin:p%40ss%2Fw%3Aord@db.test:5433/postgres",
        "postgresql://admin:plain@db.test:5433/postgres?sslmode=require",
    ],
)
def test_the_same_login_reaches_another_database(url: str) -> None:
    given = psycopg.conninfo.conninfo_to_dict(url)
    moved = psycopg.conninfo.conninfo_to_dict(url_in(Secret(url), "flownurture").reveal())
    assert moved == given | {"dbname": "flownurture"}
