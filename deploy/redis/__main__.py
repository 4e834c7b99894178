"""`python -m deploy.redis users`, for an operator of Redis."""

import os

import typer

from chassis.secret import Secret
from deploy.redis.users import render_users, user_names

app = typer.Typer(help="Redis of FlowNurture: its users.", no_args_is_help=True, add_completion=False)


@app.callback()
def commands() -> None:
    """Redis of FlowNurture: its users."""


@app.command("users")
def users_command() -> None:
    """Print the users as an ACL file of Redis; passwords come from REDIS_PASSWORD_<USER in capitals>."""
    variables = {name: f"REDIS_PASSWORD_{name.upper()}" for name in user_names()}
    missing = [variable for variable in variables.values() if not os.environ.get(variable)]
    if missing:
        for variable in missing:
            typer.echo(f"{variable} is not set", err=True)
        raise typer.Exit(2)
    typer.echo(
        render_users({name: Secret(os.environ[variable]) for name, variable in variables.items()}), nl=False
    )


if __name__ == "__main__":
    app()
