"""Passwords that an operator's commands are told, each by a variable of its own."""

import os
from collections.abc import Iterable

import typer

from chassis.secret import Secret


def passwords_of(names: Iterable[str], prefix: str) -> dict[str, Secret]:
    """The password of each name, by the variable `<prefix><NAME in capitals>`. Ends the command with 2 where any is missing, and says which."""
    variables = {name: f"{prefix}{name.upper()}" for name in names}
    missing = [variable for variable in variables.values() if not os.environ.get(variable)]
    for variable in missing:
        typer.echo(f"{variable} is not set", err=True)
    if missing:
        raise typer.Exit(2)
    return {name: Secret(os.environ[variable]) for name, variable in variables.items()}
