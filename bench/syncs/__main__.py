"""`python -m bench.syncs [PART]`: how fast contacts are brought in step with a CRM, and in how much memory.

Each part has servers of its own and can be run alone; without one both are. Progress is told on stderr, and the last line is JSON.
"""

import json
import os
import platform
from typing import Annotated, Any

import typer

from bench.sending.turns import say
from bench.syncs import memory, rates

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.callback(invoke_without_command=True)
def everything(context: typer.Context) -> None:
    """Measure both parts; exits with 1 when a stated figure is not met."""
    if context.invoked_subcommand is None:
        figures = {"rates": rates.synced(20_000), "memory": memory.kept((50_000, 200_000, 1_000_000))}
        _tell(figures | {"meets": all(part["meets"] for part in figures.values())})


@app.command("rates")
def rates_command(
    contacts: Annotated[int, typer.Option(min=1_000, help="How many contacts are synced.")] = 20_000,
) -> None:
    """Contacts a second of first and of later syncs with a CRM that limits nobody, and whose work they are."""
    _tell(rates.synced(contacts))


@app.command("memory")
def memory_command(
    contacts: Annotated[
        list[int], typer.Option(min=1_000, help="After how many contacts of the one first sync it is looked.")
    ] = [50_000, 200_000, 1_000_000],  # noqa: B006 - typer reads it
) -> None:
    """What a process keeps resident while it syncs a large account for the first time."""
    _tell(memory.kept(tuple(sorted(contacts))))


def _tell(figures: dict[str, Any]) -> None:
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), "machine": platform.machine()}
    say("")
    print(json.dumps(figures | {"machine": machine}))
    raise typer.Exit(0 if figures["meets"] else 1)


app()
