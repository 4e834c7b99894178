"""`python -m deploy.observability generate|check`."""

import typer

from deploy.observability import checking, generating

app = typer.Typer(
    help="What operators see of the platform, and when they are told.",
    no_args_is_help=True,
    add_completion=False,
)


@app.command()
def generate() -> None:
    """Write rules and dashboards as the lists have them."""
    generating.write()


@app.command()
def check() -> None:
    """Say what is watched and does not exist, has no runbook or no description, or was not generated; 1 if there is any."""
    found = checking.problems()
    for problem in found:
        print(problem)
    raise typer.Exit(1 if found else 0)


if __name__ == "__main__":
    app()
