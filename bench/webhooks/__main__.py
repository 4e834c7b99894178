"""`python -m bench.webhooks [PART]`: how fast endpoints are told of what happens, and how soon.

Each part has servers of its own and can be run alone; without one all are. Progress is told on stderr, and the last line is JSON.
"""

import json
import os
import platform
from typing import Annotated, Any

import typer

from bench.sending.turns import say
from bench.webhooks import delays, deliveries, hanging

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.callback(invoke_without_command=True)
def everything(context: typer.Context) -> None:
    """Measure all parts; exits with 1 when a stated figure is not met."""
    if context.invoked_subcommand is None:
        figures = {
            "deliveries": deliveries.taken(20_000, 4, 3),
            "delays": delays.begun(200),
            "hanging": hanging.weathered(1_000, 100, 25, 3),
        }
        _tell(figures | {"meets": all(part["meets"] for part in figures.values())})


@app.command("deliveries")
def deliveries_command(
    number: Annotated[int, typer.Option(min=1_000, help="Deliveries of a round.")] = 20_000,
    endpoints: Annotated[int, typer.Option(min=1, help="Endpoints that take each event.")] = 4,
    rounds: Annotated[
        int, typer.Option(min=1, help="Rounds, in which process and bare loop take turns.")
    ] = 3,
) -> None:
    """Signed deliveries a second with every attempt written down, against a loop that only signs and posts, and the Svix at SVIX_URL."""
    _tell(deliveries.taken(number, endpoints, rounds))


@app.command("delays")
def delays_command(
    times: Annotated[int, typer.Option(min=20, help="How many events are timed.")] = 200,
) -> None:
    """How soon an event is at its endpoint, idle."""
    _tell(delays.begun(times))


@app.command("hanging")
def hanging_command(
    endpoints: Annotated[int, typer.Option(min=10, max=1_000, help="How many there are.")] = 1_000,
    hang: Annotated[int, typer.Option(min=1, help="How many of them never answer, every other time.")] = 100,
    seconds: Annotated[int, typer.Option(min=5, help="How long a turn is.")] = 25,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of a turn with and one without them.")] = 3,
) -> None:
    """How soon the others are told while some endpoints hang until time-out."""
    _tell(hanging.weathered(endpoints, hang, seconds, rounds))


def _tell(figures: dict[str, Any]) -> None:
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), "machine": platform.machine()}
    say("")
    print(json.dumps(figures | {"machine": machine}))
    raise typer.Exit(0 if figures["meets"] else 1)


app()
