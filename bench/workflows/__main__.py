"""`python -m bench.workflows [PART]`: how fast contacts are led through workflows, and how soon they begin.

Each part has servers of its own and can be run alone; without one both are. Progress is told on stderr, and the last line is JSON.
"""

import json
import os
import platform
from typing import Annotated, Any

import typer

from bench.sending.turns import say
from bench.workflows import starts, steps

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.callback(invoke_without_command=True)
def everything(context: typer.Context) -> None:
    """Measure both parts; exits with 1 when a stated figure is not met."""
    if context.invoked_subcommand is None:
        figures = {"steps": steps.taken(10_000, 1_000_000, 20_000, 5), "starts": starts.begun(200)}
        _tell(figures | {"meets": all(part["meets"] for part in figures.values())})


@app.command("steps")
def steps_command(
    large: Annotated[int, typer.Option(min=10_000, help="How many wait in the large workflow.")] = 1_000_000,
    due: Annotated[int, typer.Option(min=1_000, help="How many are due in a turn.")] = 20_000,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds, in which both workflows take turns.")] = 5,
) -> None:
    """Steps a second while a million wait, and what a step takes then beside 10,000."""
    _tell(steps.taken(10_000, large, due, rounds))


@app.command("starts")
def starts_command(
    times: Annotated[int, typer.Option(min=20, help="How many waits and events are timed.")] = 200,
) -> None:
    """How soon a wait that is over, and an event, have their first effect."""
    _tell(starts.begun(times))


def _tell(figures: dict[str, Any]) -> None:
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), "machine": platform.machine()}
    say("")
    print(json.dumps(figures | {"machine": machine}))
    raise typer.Exit(0 if figures["meets"] else 1)


app()
