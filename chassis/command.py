"""The commands that every process has: `python -m services.contacts serve|migrate|settings|dead-letters|outbox`,
and those about keys (`chassis.vault.command`) where one seals.

A process' `__main__.py` is one call:

    service_command("contacts", ContactsSettings, serve, owns="services.contacts")()
"""

import gc
import textwrap
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, TypeVar
from uuid import UUID

import typer
import uvloop

from chassis.settings import MigrationSettings, ProcessSettings, RelaySettings, load

if TYPE_CHECKING:
    from chassis.vault.envelope_columns import EnvelopeColumn
    from chassis.vault.sealed_columns import SealedColumn

# Whoever imports this goes on to import all of a process, and that stays: looking for garbage among it, again and again, takes a fifth of
# a start. A process that serves looks as usual again (`chassis.process`).
gc.set_threshold(50_000, 20, 20)

Settings = TypeVar("Settings", bound=ProcessSettings)

Ids = Annotated[list[UUID] | None, typer.Argument(help="The events; without any, all that are parked.")]
Since = Annotated[datetime, typer.Option(help="The time (UTC) from which on events are published again.")]


def service_command(
    process: str,
    settings: type[Settings],
    serve: Callable[[Settings], Coroutine[Any, Any, None]],
    *,
    owns: str | None = None,
    seals: "Sequence[SealedColumn] | None" = None,
    encloses: "Sequence[EnvelopeColumn]" = (),
) -> typer.Typer:
    """The command line of a process.

    `owns` is the package whose migrations make the process' schema; `seals` are all columns of it that a vault seals, and
    `encloses` those that hold envelopes.
    """
    app = typer.Typer(
        name=process,
        help=f"The {process} process of FlowNurture. It is set up by its environment: see `settings`.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )

    @app.command("serve")
    def serve_command() -> None:
        """Serve until SIGTERM, then drain and leave."""
        uvloop.run(serve(load(settings)))

    @app.command("settings")
    def settings_command() -> None:
        """List the environment variables: what each means, and its default."""
        print(_settings_table(settings))

    if owns is not None:
        _add_migrate(app, owns)
    if issubclass(settings, RelaySettings):
        _add_events(app, process)
    if seals is not None:
        from chassis.vault.command import add_key_commands  # noqa: PLC0415 - not every process has a database

        add_key_commands(app, process, seals, encloses)
    return app


def _add_migrate(app: typer.Typer, package: str) -> None:
    @app.command("migrate")
    def migrate_command() -> None:
        """Bring the schema to its newest version, as the role of DATABASE_OWNER_URL."""
        from chassis.migrations.runner import migrate  # noqa: PLC0415 - what serves has no need of it

        applied = migrate(load(MigrationSettings).database_owner_url, package)
        print(f"applied {', '.join(applied)}" if applied else "nothing to apply")


def _add_events(app: typer.Typer, process: str) -> None:
    letters = typer.Typer(help="Events that could not be handled and were parked.", no_args_is_help=True)
    app.add_typer(letters, name="dead-letters")
    outbox = typer.Typer(help="Events that this process has published.", no_args_is_help=True)
    app.add_typer(outbox, name="outbox")

    @letters.command("list")
    def list_letters() -> None:
        """Show the parked events, oldest first."""
        uvloop.run(_list_letters(process, load(RelaySettings)))

    @letters.command("replay")
    def replay_letters(ids: Ids = None) -> None:
        """Have the running process handle parked events again."""
        uvloop.run(_replay_letters(process, load(RelaySettings), ids))

    @outbox.command("replay")
    def replay_outbox(since: Since) -> None:
        """Publish again what was published since a time, after a stream was lost. Readers drop what they know."""
        uvloop.run(_replay_outbox(load(RelaySettings), since.replace(tzinfo=UTC)))


async def _list_letters(process: str, settings: RelaySettings) -> None:
    from chassis.database import RoleDatabase  # noqa: PLC0415 - not every process has a database
    from chassis.dead_letters import parked  # noqa: PLC0415

    async with RoleDatabase(settings.database_relay_url) as database:
        letters = await parked(database, process)
    for letter in letters:
        waiting = "  (replay requested)" if letter.replay_requested_at else ""
        print(f"{letter.id}  {letter.parked_at:%Y-%m-%d %H:%M:%S}  {letter.type or letter.subject}{waiting}")
        print(f"    organization {letter.organization_id or 'unknown'}, {letter.deliveries} deliveries")
        print(f"    {letter.error}")
    print(f"{len(letters)} parked")


async def _replay_letters(process: str, settings: RelaySettings, ids: list[UUID] | None) -> None:
    from chassis.database import RoleDatabase  # noqa: PLC0415
    from chassis.dead_letters import request_replay  # noqa: PLC0415

    async with RoleDatabase(settings.database_relay_url) as database:
        print(f"{await request_replay(database, process, ids or None)} will be handled again")


async def _replay_outbox(settings: RelaySettings, since: datetime) -> None:
    from chassis.database import RoleDatabase  # noqa: PLC0415
    from chassis.relay import replay  # noqa: PLC0415

    async with RoleDatabase(settings.database_relay_url) as database:
        print(f"{await replay(database, since)} will be published again")


def _settings_table(settings: type[ProcessSettings]) -> str:
    fields = sorted(settings.model_fields.items(), key=lambda field: (not field[1].is_required(), field[0]))
    width = max(len(name) for name, _ in fields) + 2
    lines = []
    for name, field in fields:
        default = "required" if field.is_required() else f"default {field.default or 'none'}"
        text = f"{field.description or ''} ({default})"
        lines.append(
            textwrap.fill(text, 108, initial_indent=name.upper().ljust(width), subsequent_indent=" " * width)
        )
    return "\n".join(lines)
