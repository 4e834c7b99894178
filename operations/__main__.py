"""`flownurture`, or `python -m operations`: the operator's command line."""

import typer

from operations.backup.command import add_backup_commands

app = typer.Typer(
    name="flownurture",
    help="Operates FlowNurture, wherever it runs.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
add_backup_commands(app)


if __name__ == "__main__":
    app(prog_name="flownurture")
