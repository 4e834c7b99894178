"""What a command says: for people, or as JSON for programs."""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from operations.exit_codes import ExitCode

_WIDE = 200

AsJson = Annotated[bool, typer.Option("--json", help="Say it as JSON.")]


def say(facts: Mapping[str, Any], text: str, *, as_json: bool, err: bool = False) -> None:
    """Print the facts, or the text that says them."""
    print(json.dumps(facts, default=str) if as_json else text, file=sys.stderr if err else sys.stdout)


def show(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, as_json: bool) -> None:
    """Print rows: all they hold as a JSON list, or these columns as a table."""
    if as_json:
        print(json.dumps(rows, default=str))
        return
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*(str(row.get(column, "")) for column in columns))
    # What goes into a pipe is cut at no edge of a screen.
    width = None if sys.stdout.isatty() else _WIDE
    Console(highlight=False, markup=False, width=width).print(table)


def end(code: ExitCode, why: object) -> NoReturn:
    """End the command with a reason on stderr."""
    typer.echo(str(why).strip(), err=True)
    raise typer.Exit(code)
