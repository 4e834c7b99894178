"""`python -m deploy.nats provision|users`, for an operator of the event bus."""

import asyncio
import os
from typing import Annotated

import typer

from chassis.secret import Secret
from deploy.nats.provision import provision
from deploy.nats.topology import topology
from deploy.nats.users import ADMIN, render_users
from deploy.passwords import passwords_of

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
    typer.echo(render_users(passwords_of((ADMIN, *topology().processes), "NATS_PASSWORD_")))


if __name__ == "__main__":
    app()
