"""`python -m services.identity audit`: what an operator does to know that nobody has tampered with the trail."""

from pathlib import Path
from typing import Annotated

import typer
import uvloop

from chassis.database import RoleDatabase
from chassis.settings import load
from services.identity import audit_chain
from services.identity.audit_chain import Anchor
from services.identity.settings import AuditSettings

app = typer.Typer(
    help="The audit trail: verify its chains, and print what to keep elsewhere. Needs DATABASE_PLATFORM_URL alone.",
    no_args_is_help=True,
)

Against = Annotated[
    Path | None,
    typer.Option(
        exists=True,
        dir_okay=False,
        help="Anchors that `audit anchors` printed earlier: what they know must still be there.",
    ),
]


@app.command("verify")
def verify_command(against: Against = None) -> None:
    """Verify the chains of all organizations.

    Prints each break by its organization and sequence, and exits with 1 when there is one. Without anchors, events that
    were cut off the end of a chain, or a chain that was written anew as a whole, are not seen.
    """
    known = [] if against is None else _read(against)
    found = uvloop.run(_verify(load(AuditSettings), known))
    if found:
        typer.echo(f"{found} breaks", err=True)
        raise typer.Exit(1)
    typer.echo("every chain is whole")


@app.command("anchors")
def anchors_command() -> None:
    """Print the last sequence and hash of each organization's chain.

    Keep them where whoever can write to the database cannot: `audit verify --against` finds with them what was cut off or
    written anew since.
    """
    uvloop.run(_print_anchors(load(AuditSettings)))


async def _verify(settings: AuditSettings, known: list[Anchor]) -> int:
    found = 0
    async with RoleDatabase(settings.database_platform_url) as database:
        async for broken in audit_chain.breaks(database, known):
            typer.echo(str(broken))
            found += 1
    return found


async def _print_anchors(settings: AuditSettings) -> None:
    async with RoleDatabase(settings.database_platform_url) as database:
        async for anchor in audit_chain.anchors(database):
            typer.echo(str(anchor))


def _read(path: Path) -> list[Anchor]:
    known = []
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        try:
            known.append(Anchor.parse(line))
        except ValueError:
            typer.echo(f"{path}, line {number}: not an anchor", err=True)
            raise typer.Exit(2) from None
    return known
