"""`python -m services.sending.suppression serve|…`."""

from chassis.command import service_command
from services.sending.suppression.server import serve
from services.sending.suppression.settings import SuppressionSettings

if __name__ == "__main__":
    service_command("suppression", SuppressionSettings, serve)()
