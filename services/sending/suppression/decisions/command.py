"""`python -m services.sending.suppression decisions`: what was decided of messages, and whether nobody has changed it since."""

import sys
from datetime import date, datetime
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer
import uvloop
from pydantic import Field

from chassis.context import RequestContext
from chassis.database import Database, RoleDatabase
from chassis.secret import Secret
from chassis.settings import EnvironmentSettings, load
from services.sending.suppression.decisions.chain import BEGINNING
from services.sending.suppression.decisions.export import lines_of
from services.sending.suppression.decisions.heads import heads_of
from services.sending.suppression.decisions.verification import verify

app = typer.Typer(
    help="The log of decisions: a chain for each organization and day. `verify` needs nothing but an exported file.",
    no_args_is_help=True,
)


class ExportSettings(EnvironmentSettings):
    """What `export` needs."""

    database_url: Secret = Field(
        description="postgresql://role:password@host:port/name, the role that row-level security binds"
    )


class HeadsSettings(EnvironmentSettings):
    """What `heads` needs."""

    database_scheduler_url: Secret = Field(
        description="postgresql://…, the role that sees what is due in all organizations"
    )


Organization = Annotated[UUID, typer.Argument(help="The organization whose decisions they are.")]
Day = Annotated[datetime, typer.Argument(formats=["%Y-%m-%d"], help="The day, in UTC: 2026-01-31.")]
File = Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="What `export` printed.")]
Head = Annotated[
    str | None,
    typer.Option(
        help="The hash that `heads` printed for that day: with it, it also shows when the end is missing or all is written anew."
    ),
]


@app.command("export")
def export_command(organization: Organization, day: Day) -> None:
    """Print what was decided of an organization's messages on a day: a JSON object a line. Needs DATABASE_URL.

    Each holds the ids of the messages that were let go (`allowed`, 32 hex digits each), those that were not with their reasons
    (`denied`), the version of the list by which that was decided, and its link of the chain. What was decided a moment ago comes at
    the end, without a link.
    """
    uvloop.run(_export(load(ExportSettings), organization, day.date()))


@app.command("verify")
def verify_command(file: File, head: Head = None) -> None:
    """Verify an exported file, offline.

    Prints each break by its line, and exits with 1 when there is one: a decision that was changed, moved, added or taken out.
    """
    with file.open("rb") as lines:
        verdict = verify(lines, _hash(head) if head is not None else None)
    for found in verdict.breaks:
        typer.echo(str(found))
    if verdict.breaks:
        typer.echo(f"{len(verdict.breaks)} breaks", err=True)
        raise typer.Exit(1)
    typer.echo(f"the chain is whole: {verdict.length} decisions, head {verdict.head.hex()}")
    if verdict.not_linked:
        typer.echo(f"{verdict.not_linked} more were not linked yet when the file was written")


@app.command("heads")
def heads_command(day: Day) -> None:
    """Print the last hash of each organization's chain of a day that is closed: organization, decisions, hash.

    Needs DATABASE_SCHEDULER_URL. A day is closed ten minutes after it ends. Keep what this prints where whoever can write to the
    database cannot.
    """
    uvloop.run(_print_heads(load(HeadsSettings), day.date()))


async def _export(settings: ExportSettings, organization: UUID, day: date) -> None:
    context = RequestContext.of_process("suppression", organization)
    async with Database(settings.database_url, schema="sending") as database:
        async for line in lines_of(database, context, day):
            sys.stdout.buffer.write(line)


async def _print_heads(settings: HeadsSettings, day: date) -> None:
    async with RoleDatabase(settings.database_scheduler_url) as database:
        async for head in heads_of(database, day):
            typer.echo(str(head))


def _hash(text: str) -> bytes:
    try:
        given = bytes.fromhex(text)
    except ValueError:
        given = b""
    if len(given) != len(BEGINNING):
        raise typer.BadParameter("must be 64 hex digits", param_hint="--head")
    return given
