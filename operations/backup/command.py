"""`flownurture backup`, `verify`, `restore`, `release`: the platform's data, out of its servers and into others."""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import nats.errors
import psycopg
import redis
import typer
from prometheus_client import CollectorRegistry, Gauge, write_to_textfile
from pydantic import ValidationError

from chassis.errors import Unavailable
from chassis.secret import Secret
from deploy.database.bootstrap import DATABASE, url_in
from operations.backup.archive import Recipient, identities, recipient
from operations.backup.emptiness import NotEmpty
from operations.backup.manifest import BackupUnusable, Manifest
from operations.backup.postgres import ProgramFailed
from operations.backup.restoring import AlreadyUnderWay, Restored, Servers, restore, verify
from operations.backup.sealed_data import keepers
from operations.backup.taking import Taken, take
from operations.exit_codes import ExitCode
from operations.output import AsJson, end, say
from operations.progress import Progress
from operations.servers.bus import bus_at
from operations.servers.roles import passwords
from operations.whole_file import whole_file
from services.sending.restoration import RELEASE

DatabaseUrl = Annotated[
    str,
    typer.Option(
        "--database-url",
        envvar="DATABASE_ADMIN_URL",
        help="postgresql://… of the server. To back up, a role with pg_read_all_data and BYPASSRLS is enough.",
        show_default=False,
    ),
]
To = Annotated[
    list[str],
    typer.Option(
        "--to", envvar="BACKUP_RECIPIENTS", help="A public key of age (age1…) that opens it; several may."
    ),
]
Target = Annotated[str, typer.Argument(metavar="FILE", help="Where it is written; - is standard output.")]
Stored = Annotated[Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="A backup.")]
IdentityFile = Annotated[
    Path,
    typer.Option(
        "--identity", "-i", exists=True, dir_okay=False, help="Private keys, as age-keygen writes them."
    ),
]
Metrics = Annotated[
    Path | None,
    typer.Option(
        help="A file for Prometheus' textfile collector, which is told when this succeeded.", dir_okay=False
    ),
]
NatsUrl = Annotated[str, typer.Option(envvar="NATS_URL", help="nats://… of the empty event bus.")]
RedisUrl = Annotated[
    str, typer.Option(envvar="REDIS_URL", help="redis://… of the empty Redis, as its administrator.")
]
Replicas = Annotated[int, typer.Option(help="Copies of each stream: 3 in a cluster.", min=1, max=5)]
NothingSince = Annotated[
    bool,
    typer.Option(
        "--nothing-happened-since",
        help="The platform was stopped before the backup was taken, and did nothing after it: all goes on where it was.",
    ),
]


def add_backup_commands(app: typer.Typer) -> None:
    """Give the command line these commands."""
    app.command("backup")(backup_command)
    app.command("verify")(verify_command)
    app.command("restore")(restore_command)
    app.command("release")(release_command)


def backup_command(
    target: Target, database_url: DatabaseUrl, to: To, metrics: Metrics = None, as_json: AsJson = False
) -> None:
    """Back the platform up, while it runs, so that only the holders of keys can read it.

    One moment of all that PostgreSQL holds: rows, and how tables are made; no passwords of roles, and none of the keys that
    processes are given. Needs pg_dump of the server's version or a newer one on the PATH.
    """
    recipients = _recipients(to)
    with _explained():
        if target == "-":
            taken = take(Secret(database_url), sys.stdout.buffer, recipients, Progress("dumped"))
        else:
            with whole_file(Path(target)) as file:
                taken = take(Secret(database_url), file, recipients, Progress("dumped"))
    if metrics:
        _note_success(metrics)
    said = f"{taken.manifest.row_count:,} rows of {taken.manifest.taken_at:%Y-%m-%d %H:%M:%S %Z}"
    # What is not the backup itself must not get into it.
    say(
        _taken(taken),
        f"{said}, {taken.written.size / 1e6:,.1f} MB, SHA-256 {taken.written.sha256}",
        as_json=as_json,
        err=target == "-",
    )


def verify_command(file: Stored, identity: IdentityFile, as_json: AsJson = False) -> None:
    """Read a backup to its end, as restoring it would, and change nothing."""
    with _explained():
        manifest = verify(file, identities(identity), Progress("read"))
    say(_manifest(manifest), f"whole: {_what(manifest)}", as_json=as_json)


def restore_command(
    file: Stored,
    identity: IdentityFile,
    *,
    database_url: DatabaseUrl,
    nats_url: NatsUrl,
    redis_url: RedisUrl,
    replicas: Replicas = 1,
    nothing_happened_since: NothingSince = False,
    as_json: AsJson = False,
) -> None:
    """Restore a backup into empty servers, as a whole or not at all. Nothing is sent until `release`.

    Needs what `python -m deploy.database bootstrap` needs (an administrator, `PASSWORD_<ROLE>`), NATS_ADMIN_PASSWORD, and pg_restore.
    Where the variables of a schema's key-encryption keys are there, with its name before them (SENDING_KEY_ENCRYPTION_KEYS), it is tried
    whether they open what was sealed.
    """
    with _explained():
        keys = identities(identity)
        given = keepers()
        servers = Servers(
            Secret(database_url),
            passwords(),
            bus_at(nats_url, replicas),
            Secret(redis_url),
        )
        verify(file, keys, Progress("verified"))
        restored = asyncio.run(
            restore(
                file,
                keys,
                servers,
                keepers=given,
                nothing_happened_since=nothing_happened_since,
                tell=Progress("restored"),
            )
        )
    say(_restored(restored), _told(restored), as_json=as_json)


def release_command(database_url: DatabaseUrl, as_json: AsJson = False) -> None:
    """Let mail be sent again that was held since a restore. Delivery begins within seconds."""
    with _explained(), psycopg.connect(url_in(Secret(database_url), DATABASE).reveal()) as connection:
        was_held = connection.execute(RELEASE).rowcount == 1
    say(
        {"released": was_held},
        "sending goes on" if was_held else "sending was not held",
        as_json=as_json,
    )


def _recipients(to: list[str]) -> list[Recipient]:
    try:
        return [recipient(key) for keys in to for key in keys.split()]
    except ValueError as error:
        end(ExitCode.USAGE, error)


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except (BackupUnusable, NotEmpty, AlreadyUnderWay, FileExistsError) as error:
        end(ExitCode.REFUSED, error)
    except ValidationError as error:
        end(ExitCode.USAGE, "\n".join(f"{title['loc'][0]} {title['msg']}" for title in error.errors()))
    except (
        psycopg.Error,
        redis.RedisError,
        nats.errors.Error,
        ProgramFailed,
        Unavailable,
        OSError,
    ) as error:
        end(ExitCode.UNAVAILABLE, error or type(error).__name__)


def _note_success(path: Path) -> None:
    registry = CollectorRegistry()
    moment = Gauge(
        "flownurture_backup_last_success_seconds",
        "When a backup was last taken, in seconds since 1970.",
        registry=registry,
    )
    moment.set(datetime.now(UTC).timestamp())
    write_to_textfile(str(path), registry)


def _manifest(manifest: Manifest) -> dict[str, object]:
    return asdict(manifest) | {"taken_at": manifest.taken_at.isoformat()}


def _taken(taken: Taken) -> dict[str, object]:
    return _manifest(taken.manifest) | asdict(taken.written)


def _restored(restored: Restored) -> dict[str, object]:
    return {
        "taken_at": restored.manifest.taken_at.isoformat(),
        "rows": restored.manifest.row_count,
        "keys": asdict(restored.keys),
        "events_replayed": restored.replayed,
        "to_be_migrated": restored.behind,
    }


def _what(manifest: Manifest) -> str:
    return f"{manifest.row_count:,} rows of {manifest.taken_at:%Y-%m-%d %H:%M:%S %Z}, PostgreSQL {manifest.postgresql}"


def _told(restored: Restored) -> str:
    lines = [f"restored: {_what(restored.manifest)}", f"{restored.replayed:,} events go out again"]
    if restored.keys.open:
        lines.append(f"secrets open: {', '.join(restored.keys.open)}")
    if restored.keys.not_given:
        lines.append(f"not tried, since no keys were given: {', '.join(restored.keys.not_given)}")
    if restored.behind:
        lines.append(f"to be migrated before processes start: {', '.join(restored.behind)}")
    return "\n".join([*lines, "Sending is held: see docs/backup.md for what to do before `release`."])
