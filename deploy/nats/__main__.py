"""`python -m deploy.nats provision|users`, for an operator of the event bus."""

import asyncio
import os
from typing import Annotated

import typer

from chassis.secret import Secret
from deploy.nats.provision import provision
from deploy.nats.topology import topology
from deploy.nats.users import ADMIN, render_users

app = typer.Typer(
    help="The event bus of FlowNurture: streams, readers, users.", no_args_is_help=True, add_completion=False
)
Url = Annotated[str, typer.Option(envvar="NATS_URL", help="nats://… of the bus.")]
Replicas = Annotated[int, typer.Option(help="Copies of each stream: 3 in a cluster.", min=1, max=5)]


@app.command("provision")
def provision_command(url: Url, replicas: Replicas = 1) -> None:
    """Make streams and consumers, as user `admin` with the password of NATS_ADMIN_PASSWORD, or as the URL says."""
    password = os.environ.get("NATS_ADMIN_PASSWORD")
    asyncio.run(provision(url, Secret(password) if password else None, replicas=replicas))
    typer.echo(f"{len(topology().streams)} streams")


@app.command("users")
def users_command() -> None:
    """Print the users for nats-server's configuration; passwords come from NATS_PASSWORD_<USER in capitals>."""
    variables = {name: f"NATS_PASSWORD_{name.upper()}" for name in (ADMIN, *topology().processes)}
    missing = [variable for variable in variables.values() if not os.environ.get(variable)]
    if missing:
        for variable in missing:
            typer.echo(f"{variable} is not set", err=True)
        raise typer.Exit(2)
    typer.echo(render_users({name: Secret(os.environ[variable]) for name, variable in variables.items()}))


if __name__ == "__main__":
    app()
