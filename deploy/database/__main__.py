"""`python -m deploy.database bootstrap|roles`, for an operator with an administrator's URL."""

from typing import Annotated

import typer

from chassis.secret import Secret
from deploy.database.bootstrap import bootstrap
from deploy.database.roles import role_list
from deploy.passwords import passwords_of

app = typer.Typer(
    help="The database of FlowNurture: its schemas and roles.", no_args_is_help=True, add_completion=False
)
AdminUrl = Annotated[
    str, typer.Option(envvar="DATABASE_ADMIN_URL", help="postgresql://… of an administrator of the server.")
]


@app.command("bootstrap")
def bootstrap_command(admin_url: AdminUrl) -> None:
    """Make database, schemas and roles; the password of role R comes from the variable PASSWORD_<R in capitals>."""
    passwords = passwords_of((role.name for role in role_list().roles), "PASSWORD_")
    bootstrap(Secret(admin_url), passwords)
    typer.echo(f"{len(passwords)} roles in {len(role_list().schemas)} schemas")


@app.command("roles")
def roles_command() -> None:
    """List the roles, and what each sees across organizations."""
    for role in role_list().roles:
        seen = [grant for grant in role_list().across if grant.role == role.name]
        tables = ", ".join(f"{grant.table} ({' '.join(sorted(grant.privileges))})" for grant in seen)
        typer.echo(f"{role.name:24} {tables or 'nothing across organizations'}")


if __name__ == "__main__":
    app()
