"""`python -m deploy.redis users`, for an operator of Redis."""

import typer

from deploy.passwords import passwords_of
from deploy.redis.users import render_users, user_names

app = typer.Typer(help="Redis of FlowNurture: its users.", no_args_is_help=True, add_completion=False)


@app.callback()
def commands() -> None:
    """Redis of FlowNurture: its users."""


@app.command("users")
def users_command() -> None:
    """Print the users as an ACL file of Redis; passwords come from REDIS_PASSWORD_<USER in capitals>."""
    typer.echo(render_users(passwords_of(user_names(), "REDIS_PASSWORD_")), nl=False)


if __name__ == "__main__":
    app()
