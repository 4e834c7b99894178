"""`python -m deploy.database bootstrap|roles`, for an operator with an administrator's URL."""

import os
from typing import Annotated

import typer

from chassis.secret import Secret
from deploy.database.bootstrap import bootstrap
from deploy.database.roles import role_list

app = typer.Typer(
    help="The database of FlowNurture: its schemas and roles.", no_args_is_help=True, add_completion=False
)
AdminUrl = Annotated[
    str, typer.Option(envvar="DATABASE_ADMIN_URL", help="postgresql://… of an administrator of the server.")
]


@app.command("bootstrap")
def bootstrap_command(admin_url: AdminUrl) -> None:
    """Make database, schemas and roles; the password of role R comes from the variable PASSWORD_<R in capitals>."""
    variables = {role.name: f"PASSWORD_{role.name.upper()}" for role in role_list().roles}
    missing = [variable for variable in variables.values() if not os.environ.get(variable)]
    if missing:
        for variable in missing:
            typer.echo(f"{variable} is not set", err=True)
        raise typer.Exit(2)
    bootstrap(Secret(admin_url), {role: Secret(os.environ[name]) for role, name in variables.items()})
    typer.echo(f"{len(variables)} roles in {len(role_list().schemas)} schemas")


@app.command("roles")
def roles_command() -> None:
    """List the roles, and what each sees across organizations."""
    for role in role_list().roles:
        seen = [grant for grant in role_list().across if grant.role == role.name]
        tables = ", ".join(f"{grant.table} ({' '.join(sorted(grant.privileges))})" for grant in seen)
        typer.echo(f"{role.name:24} {tables or 'nothing across organizations'}")


if __name__ == "__main__":
    app()
