"""What a command says: for people, or as JSON for programs."""

import json
import sys
from collections.abc import Mapping
from typing import Annotated, Any, NoReturn

import typer

from operations.exit_codes import ExitCode

AsJson = Annotated[bool, typer.Option("--json", help="Say it as JSON.")]


def say(facts: Mapping[str, Any], text: str, *, as_json: bool, err: bool = False) -> None:
    """Print the facts, or the text that says them."""
    print(json.dumps(facts, default=str) if as_json else text, file=sys.stderr if err else sys.stdout)


def end(code: ExitCode, why: object) -> NoReturn:
    """End the command with a reason on stderr."""
    typer.echo(str(why).strip(), err=True)
    raise typer.Exit(code)
