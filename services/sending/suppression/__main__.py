"""`python -m services.sending.suppression serve|decisions|…`."""

from chassis.command import service_command
from services.sending.suppression.decisions import command as decisions
from services.sending.suppression.server import serve
from services.sending.suppression.settings import SuppressionSettings

if __name__ == "__main__":
    command = service_command("suppression", SuppressionSettings, serve)
    command.add_typer(decisions.app, name="decisions")
    command()
