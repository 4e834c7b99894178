"""`python -m bench.scale costs|tables`: what each message costs by measurement, and what a day's mail takes by that."""

import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from bench.scale.measuring import costs
from bench.scale.model import Assumptions, measured_costs
from bench.scale.page import tables, with_tables

COSTS = Path(__file__).with_name("costs.json")
PAGE = Path(__file__).parents[2] / "docs/scale.md"

app = typer.Typer(help="What mail costs, and what a day's takes.", no_args_is_help=True, add_completion=False)
Write = Annotated[
    bool, typer.Option("--write", help="Write it down: costs.json, or the tables of docs/scale.md.")
]


@app.command("costs")
def costs_command(
    recipients: Annotated[
        int, typer.Option(min=5_000, help="Of the campaign; receipts and opens are as many.")
    ] = 20_000,
    write: Write = False,
) -> None:
    """Measure what a campaign's message, a receipt and an open cost, on the whole platform with servers of its own."""
    found = _with_origin(costs(recipients), recipients)
    if write:
        COSTS.write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found))


@app.command("tables")
def tables_command(write: Write = False) -> None:
    """Print what each costs, and what follows for each volume, by `costs.json` and `assumptions.toml`."""
    if write:
        PAGE.write_text(with_tables(PAGE.read_text(), measured_costs(), Assumptions.read()))
    else:
        print(tables(measured_costs(), Assumptions.read()))


def _with_origin(found: dict[str, Any], recipients: int) -> dict[str, Any]:
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    day = datetime.now(UTC).date().isoformat()
    return {"measured": {"day": day, "recipients": recipients, "machine": machine}} | found


if __name__ == "__main__":
    app()
