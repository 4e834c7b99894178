"""`python -m deploy.releases check`: whether the migrations since the last release can be applied while its processes run."""

import typer

from chassis.migrations.offline import rendered
from chassis.migrations.runner import versions_of
from deploy.database.roles import role_list
from deploy.releases.check import objections
from deploy.releases.releases import last_release, releases

app = typer.Typer(help="The releases of FlowNurture.", no_args_is_help=True, add_completion=False)


@app.command("list")
def list_command() -> None:
    """List the releases, the newest last."""
    for release in releases():
        typer.echo(f"{release.version:10} {release.commit}")


@app.command("check")
def check_command() -> None:
    """Say what stands against applying the migrations that the last release does not know; 1 when anything does."""
    known = last_release().migrations
    released = [release.version for release in releases()]
    found = 0
    for schema in role_list().schemas:
        for script in rendered(schema, versions_of(f"services.{schema}"), known.get(schema)):
            for objection in objections(script, released):
                found += 1
                typer.echo(f"{schema} {script.path.name}: {objection}")
    raise typer.Exit(1 if found else 0)


if __name__ == "__main__":
    app()
