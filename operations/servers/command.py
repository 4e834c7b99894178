"""What needs the servers themselves: `doctor`, `status`, `migrate`."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated, Any

import nats.errors
import psycopg
import typer
from pydantic import ValidationError

from chassis.migrations.runner import head, migrate
from chassis.secret import Secret
from deploy.database.bootstrap import DATABASE, url_in
from deploy.database.roles import role_list
from operations.backup.postgres import revisions
from operations.backup.sealed_data import keepers
from operations.exit_codes import ExitCode
from operations.output import AsJson, end, say, show
from operations.servers.backlog import dead_letters, outboxes, process_names, readers, readiness
from operations.servers.bus import bus_at
from operations.servers.findings import Finding, Platform, examine
from operations.servers.roles import role_url

DatabaseUrl = Annotated[
    str,
    typer.Option(envvar="DATABASE_ADMIN_URL", help="postgresql://… of an administrator.", show_default=False),
]
NatsUrl = Annotated[
    str,
    typer.Option(envvar="NATS_URL", help="nats://… of the event bus; NATS_ADMIN_PASSWORD is its password."),
]
RedisUrl = Annotated[str, typer.Option(envvar="REDIS_URL", help="redis://…, as its administrator.")]
Url = Annotated[str, typer.Option(envvar="FLOWNURTURE_URL", help="The gateway, to ask whether it is ready.")]
ProcessUrls = Annotated[
    str,
    typer.Option(
        envvar="PROCESS_URLS",
        help="Where the side ports are: JSON, process to http://host:port. By default http://<process>:9100.",
    ),
]
Check = Annotated[bool, typer.Option("--check", help="Apply nothing; end with 1 when something is missing.")]


def add_server_commands(app: typer.Typer) -> None:
    """Give the command line these commands."""
    app.command("doctor")(doctor)
    app.command("status")(status)
    app.command("migrate")(migrate_all)


def doctor(
    *,
    database_url: DatabaseUrl,
    nats_url: NatsUrl,
    redis_url: RedisUrl,
    url: Url = "",
    as_json: AsJson = False,
) -> None:
    """Look whether what the platform stands on is as it should be, and say how to mend what is not. Ends with 1 then.

    Servers, their versions and clocks; roles, schemas, streams and readers; whether sending is held; whether the key-encryption keys that
    are given (SENDING_KEY_ENCRYPTION_KEYS, …) open what is sealed.
    """
    with _explained():
        platform = Platform(Secret(database_url), bus_at(nats_url), Secret(redis_url), url, keepers())
        found = asyncio.run(_examined(platform))
    say(
        {"good": all(finding.good for finding in found), "findings": [asdict(finding) for finding in found]},
        "\n".join(map(_line, found)),
        as_json=as_json,
    )
    if not all(finding.good for finding in found):
        raise typer.Exit(ExitCode.FOUND_WRONG)


def status(
    *, database_url: DatabaseUrl, nats_url: NatsUrl, process_urls: ProcessUrls = "", as_json: AsJson = False
) -> None:
    """Show which processes are ready, what waits for whom, and what was given up. Ends with 1 when a process is not ready."""
    with _explained():
        urls: dict[str, str] = json.loads(process_urls) if process_urls else _usual_urls()
        server = Secret(database_url)
        facts: dict[str, list[dict[str, Any]]] = {
            "processes": asyncio.run(readiness(urls)),
            "outboxes": outboxes(server),
            "readers": asyncio.run(readers(bus_at(nats_url))),
            "dead_letters": dead_letters(server),
        }
    if as_json:
        say(facts, "", as_json=True)
    else:
        show(facts["processes"], ("process", "ready", "says"), as_json=False)
        show(facts["outboxes"], ("domain", "waiting", "oldest_seconds"), as_json=False)
        waiting = [reader for reader in facts["readers"] if reader["waiting"] or reader["in_hand"]]
        show(waiting, ("stream", "reader", "waiting", "in_hand"), as_json=False)
        show(facts["dead_letters"], ("process", "parked"), as_json=False)
    if not all(process["ready"] for process in facts["processes"]):
        raise typer.Exit(ExitCode.FOUND_WRONG)


def migrate_all(*, database_url: DatabaseUrl, check: Check = False, as_json: AsJson = False) -> None:
    """Bring all schemas to their newest revision, as their owners (`PASSWORD_<SCHEMA>_OWNER`)."""
    with _explained():
        if check:
            _say_missing(Secret(database_url), as_json=as_json)
            return
        applied = {
            schema: migrate(role_url(Secret(database_url), f"{schema}_owner"), f"services.{schema}")
            for schema in role_list().schemas
        }
    lines = [
        f"{schema}: {'applied ' + ', '.join(new) if new else 'nothing to apply'}"
        for schema, new in applied.items()
    ]
    say(applied, "\n".join(lines), as_json=as_json)


def _say_missing(server: Secret, *, as_json: bool) -> None:
    with psycopg.connect(url_in(server, DATABASE).reveal()) as connection:
        found = revisions(connection)
    missing = {
        schema: {"at": found.get(schema), "newest": newest}
        for schema in role_list().schemas
        if found.get(schema) != (newest := head(f"services.{schema}"))
    }
    lines = [f"{schema}: at {each['at']}, newest {each['newest']}" for schema, each in missing.items()]
    say(missing, "\n".join(lines) or "all schemas are at their newest revision", as_json=as_json)
    if missing:
        raise typer.Exit(ExitCode.FOUND_WRONG)


def _usual_urls() -> dict[str, str]:
    return {process: f"http://{process}:9100" for process in process_names()}


async def _examined(platform: Platform) -> list[Finding]:
    return [finding async for finding in examine(platform)]


def _line(finding: Finding) -> str:
    mark = "ok     " if finding.good else "WRONG  "
    remedy = "" if finding.good else f"\n{'':31}{finding.remedy}"
    return f"{mark}{finding.what:24}{finding.seen}{remedy}"


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except json.JSONDecodeError as error:
        end(ExitCode.USAGE, f"PROCESS_URLS is no JSON: {error}")
    except ValidationError as error:
        end(ExitCode.USAGE, "\n".join(f"{wrong['loc'][0]} {wrong['msg']}" for wrong in error.errors()))
    except (psycopg.Error, nats.errors.Error, OSError) as error:
        end(ExitCode.UNAVAILABLE, str(error) or type(error).__name__)
