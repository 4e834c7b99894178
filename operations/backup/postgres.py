"""PostgreSQL's own programs, pg_dump and pg_restore, and what is asked beside them."""

import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from os import environ
from typing import IO, Any, LiteralString
from urllib.parse import unquote, urlsplit

import psycopg
from psycopg import sql

from chassis.secret import Secret
from deploy.database.roles import role_list
from operations.backup.archive import PART_BYTES

# Beyond this, time buys little: a third more of it for a fiftieth less.
_COMPRESSION = "gzip:6"
_STILL_THERE_SECONDS = 30

_TABLES = """
    SELECT namespace.nspname, class.relname FROM pg_class AS class
    JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
    WHERE class.relkind = 'r' AND namespace.nspname = ANY(%s) ORDER BY 1, 2
"""


class ProgramFailed(Exception):
    """pg_dump or pg_restore did not do what it was asked; the message is what it said."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One moment of the database, which others can look at as long as it is held, and what was there."""

    name: str
    taken_at: datetime
    postgresql: str
    revisions: Mapping[str, str]
    rows: Mapping[str, int]


@contextmanager
def snapshot(url: Secret) -> Iterator[Snapshot]:
    """Hold one moment of all schemas. Raises psycopg.Error for a role that does not see every row."""
    # It is held as long as the dump takes, and says nothing meanwhile: no server and no wire between may take it for dead.
    with psycopg.connect(url.reveal(), keepalives_idle=_STILL_THERE_SECONDS) as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        connection.execute(
            "SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL statement_timeout = 0"
        )
        # A role that policies narrow is refused, instead of being shown some of the rows.
        connection.execute("SET LOCAL row_security = off")
        row = connection.execute(
            "SELECT pg_export_snapshot(), now(), current_setting('server_version')"
        ).fetchone()
        assert row is not None  # noqa: S101 - it selects one
        name, taken_at, version = row
        yield Snapshot(name, taken_at, version, revisions(connection), count_rows(connection))


def tables(connection: psycopg.Connection) -> list[tuple[str, str]]:
    """The tables of the platform's schemas, partitions one by one."""
    return connection.execute(_TABLES, [list(role_list().schemas)]).fetchall()


def count_rows(connection: psycopg.Connection) -> dict[str, int]:
    """The rows of each table."""
    return {
        f"{schema}.{table}": _scalar(connection, "SELECT count(*) FROM {}", schema, table)
        for schema, table in tables(connection)
    }


def has_rows(connection: psycopg.Connection) -> bool:
    """Whether any table has a row, but for those that say at which revision a schema is."""
    return any(
        _scalar(connection, "SELECT EXISTS (SELECT FROM {})", schema, table)
        for schema, table in tables(connection)
        if table != "alembic_version"
    )


def revisions(connection: psycopg.Connection) -> dict[str, str]:
    """At which revision each schema is that has been migrated."""
    return {
        schema: _scalar(connection, "SELECT version_num FROM {}", schema, table)
        for schema, table in tables(connection)
        if table == "alembic_version"
    }


def dumped(url: Secret, name: str) -> Iterator[bytes]:
    """What pg_dump writes of a snapshot, in parts. Raises ProgramFailed at its end."""
    command = ["pg_dump", "--format=custom", f"--compress={_COMPRESSION}", f"--snapshot={name}"]
    with _running(command, url, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as program:
        yield from iter(lambda: _pipe(program.stdout).read(PART_BYTES), b"")


def restore(url: Secret, dump: Iterable[bytes]) -> None:
    """Make everything of a dump in an empty database. Raises ProgramFailed."""
    _feed(["pg_restore", "--exit-on-error"], url, dump)


def read_through(dump: Iterable[bytes]) -> None:
    """See that pg_restore can read a dump to its end; it does nothing with it. Raises ProgramFailed."""
    _feed(["pg_restore", "--file=/dev/null"], None, dump)


def _feed(command: list[str], url: Secret | None, dump: Iterable[bytes]) -> None:
    with (
        _running(command, url, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as program,
        # It may give up, and says why.
        suppress(BrokenPipeError),
        _pipe(program.stdin) as stdin,
    ):
        for part in dump:
            stdin.write(part)


@contextmanager
def _running(
    command: list[str], url: Secret | None, *, stdin: int, stdout: int
) -> Iterator[subprocess.Popen[bytes]]:
    environment = dict(environ)
    if url is not None:
        address, password = _address(url)
        # Arguments are seen by everybody on the machine, the environment by nobody else.
        environment |= {"PGPASSWORD": password.reveal()}
        command = [*command, f"--dbname={address}"]
    with tempfile.TemporaryFile() as said:
        try:
            program = subprocess.Popen(command, env=environment, stdin=stdin, stdout=stdout, stderr=said)  # noqa: S603
        except FileNotFoundError:
            raise ProgramFailed(
                f"{command[0]} is not on the PATH: it comes with PostgreSQL's client programs."
            ) from None
        try:
            yield program
        except BaseException:
            program.kill()
            raise
        finally:
            for pipe in (program.stdin, program.stdout):
                if pipe is not None:
                    pipe.close()
            program.wait()
        if program.returncode != 0:
            said.seek(0)
            raise ProgramFailed(f"{command[0]} failed: {said.read().decode(errors='replace').strip()}")


def _address(url: Secret) -> tuple[str, Secret]:
    """The URL without its password, and the password."""
    parts = urlsplit(url.reveal())
    location = parts.netloc.rpartition("@")[2]
    user = f"{parts.username}@" if parts.username else ""
    return parts._replace(netloc=f"{user}{location}").geturl(), Secret(unquote(parts.password or ""))


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None  # noqa: S101 - it was asked for
    return pipe


def _scalar(connection: psycopg.Connection, query: LiteralString, schema: str, table: str) -> Any:
    row = connection.execute(sql.SQL(query).format(sql.Identifier(schema, table))).fetchone()
    assert row is not None  # noqa: S101 - it selects one
    return row[0]
