"""Restoring a backup, as a whole or not at all: beside the place where it is to be, and moved there once it is all right.

What cannot be in a backup is what happened after it. Unless somebody says that nothing did, what may have happened is taken into account:
what was open is in doubt, log-ins are over, and in any case nothing is sent until an operator releases it (ADR 0055).
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from chassis.migrations.runner import head
from chassis.secret import Secret
from chassis.vault.settings import VaultSettings
from deploy.database.bootstrap import DATABASE, bootstrap, url_in
from deploy.database.roles import role_list
from operations.backup import postgres
from operations.backup.archive import Identity, Tell, opened
from operations.backup.emptiness import require_empty_bus, require_empty_database, require_empty_redis
from operations.backup.manifest import BackupUnusable, Manifest
from operations.backup.sealed_data import KeptKeys, open_data_keys
from operations.servers.bus import Bus
from services.identity.restoration import END_WHAT_MAY_HAVE_ENDED
from services.sending.restoration import DOUBT_WHAT_WAS_OPEN, HOLD

_UNFINISHED = f"{DATABASE}_restoring"
_LOCK = 7_401_503
# As `outbox replay` does, without a role for each schema and a limit on time.
_PUBLISH_AGAIN = "UPDATE {} SET published_at = NULL WHERE published_at IS NOT NULL"


@dataclass(frozen=True, slots=True)
class Servers:
    """The empty servers: PostgreSQL as its administrator with a password for each role, the event bus, and Redis."""

    database: Secret
    passwords: Mapping[str, Secret]
    bus: Bus
    redis: Secret


@dataclass(frozen=True, slots=True)
class Restored:
    """What was restored, what of its secrets opens, how many events go out again, and which schemas are to be migrated."""

    manifest: Manifest
    keys: KeptKeys
    replayed: int
    behind: Sequence[str]


class AlreadyUnderWay(Exception):
    """Somebody else restores into this server."""


def verify(path: Path, keys: Sequence[Identity], tell: Tell) -> Manifest:
    """Read a backup from its beginning to its end, as restoring it would. Raises BackupUnusable, ProgramFailed."""
    with opened(path, keys) as backup:
        manifest = backup.manifest
        _require_known(manifest)
        postgres.read_through(backup.dump(tell))
    return manifest


async def restore(
    path: Path,
    keys: Sequence[Identity],
    servers: Servers,
    *,
    keepers: Mapping[str, VaultSettings],
    nothing_happened_since: bool,
    tell: Tell,
) -> Restored:
    """Restore a backup that was verified. Raises NotEmpty, BackupUnusable, and what servers and programs raise; then nothing was restored."""
    require_empty_redis(servers.redis)
    await require_empty_bus(servers.bus)
    with _alone(servers.database) as administration:
        require_empty_database(servers.database)
        with _unfinished(administration):
            manifest = _load(path, keys, servers, tell)
            kept = await open_data_keys(url_in(servers.database, _UNFINISHED), keepers)
            replayed = _take_into_account(servers.database, nothing_happened_since=nothing_happened_since)
            await servers.bus.provision()
            _move(administration)
    return Restored(manifest, kept, replayed, sorted(_behind(manifest)))


def _require_known(manifest: Manifest) -> None:
    for schema, revision in manifest.revisions.items():
        if schema not in role_list().schemas or revision > head(f"services.{schema}"):
            raise BackupUnusable(
                f"It has schema {schema} at revision {revision}, which this version of the platform does not know: "
                "restore it with the version that it was taken of."
            )


def _behind(manifest: Manifest) -> Iterator[str]:
    for schema, revision in manifest.revisions.items():
        if revision < head(f"services.{schema}"):
            yield schema


@contextmanager
def _alone(server: Secret) -> Iterator[psycopg.Connection]:
    # Nothing is said on it while the dump is read, which may be hours.
    with psycopg.connect(server.reveal(), autocommit=True, keepalives_idle=30) as connection:
        row = connection.execute("SELECT pg_try_advisory_lock(%s)", [_LOCK]).fetchone()
        if row != (True,):
            raise AlreadyUnderWay("Somebody else restores a backup into this server.")
        yield connection


@contextmanager
def _unfinished(administration: psycopg.Connection) -> Iterator[None]:
    """A database beside that of the platform: without what somebody left there who was killed, and gone unless it was moved."""
    drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(_UNFINISHED))
    administration.execute(drop)
    try:
        yield
    finally:
        administration.execute(drop)


def _load(path: Path, keys: Sequence[Identity], servers: Servers, tell: Tell) -> Manifest:
    bootstrap(servers.database, servers.passwords, _UNFINISHED)
    database = url_in(servers.database, _UNFINISHED)
    with psycopg.connect(database.reveal()) as connection:
        # The dump has them, with what others may do in them.
        for schema in role_list().schemas:
            connection.execute(sql.SQL("DROP SCHEMA {}").format(sql.Identifier(schema)))
    with opened(path, keys) as backup:
        postgres.restore(database, backup.dump(tell))
    with psycopg.connect(database.reveal(), autocommit=True) as connection:
        if postgres.count_rows(connection) != dict(backup.manifest.rows):
            raise BackupUnusable("What was restored has other rows than its manifest says.")
        # Else the first minutes run by plans for tables of nothing.
        connection.execute("ANALYZE")
    return backup.manifest


def _take_into_account(server: Secret, *, nothing_happened_since: bool) -> int:
    """Hold sending, and have events go out again; answers how many."""
    replayed = 0
    with psycopg.connect(url_in(server, _UNFINISHED).reveal()) as connection:
        if not nothing_happened_since:
            for statement in (*DOUBT_WHAT_WAS_OPEN, *END_WHAT_MAY_HAVE_ENDED):
                connection.execute(statement)
        connection.execute(HOLD)
        for schema in role_list().schemas:
            # Nobody knows any more who had read which: readers drop what they know.
            again = connection.execute(sql.SQL(_PUBLISH_AGAIN).format(sql.Identifier(schema, "outbox")))
            replayed += again.rowcount
    return replayed


def _move(administration: psycopg.Connection) -> None:
    administration.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(DATABASE)))
    administration.execute(
        sql.SQL("ALTER DATABASE {} RENAME TO {}").format(
            sql.Identifier(_UNFINISHED), sql.Identifier(DATABASE)
        )
    )
