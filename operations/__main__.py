"""`flownurture`, or `python -m operations`: the operator's command line."""

import typer

from operations.backup.command import add_backup_commands
from operations.platform.command import add_platform_commands
from operations.servers.command import add_server_commands
from operations.servers.keeping import add_keeping_commands

_HELP = """
Operates FlowNurture, wherever it runs.

Commands that ask the platform take a log-in (`flownurture login`, or FLOWNURTURE_TOKEN with FLOWNURTURE_URL), and what they do is in
its audit trail. Those that need servers take the variables that deploy.database and deploy.nats take: DATABASE_ADMIN_URL,
`PASSWORD_<ROLE>`, NATS_URL, NATS_ADMIN_PASSWORD, REDIS_URL. Results go to standard output, as JSON with --json, all else to standard error.

They end with 0 when it is done; 1 when what was looked at is not as it should be; 2 when an argument or a variable is missing or
wrong; 3 when it was refused, and would be again; 4 when something does not answer, and it may work later.
"""

app = typer.Typer(
    name="flownurture",
    help=_HELP,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    # Lines are as long as the terminal, whatever those are here.
    rich_markup_mode="markdown",
)
add_backup_commands(app)
add_platform_commands(app)
add_server_commands(app)
add_keeping_commands(app)


if __name__ == "__main__":
    app(prog_name="flownurture")
