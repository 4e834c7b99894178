"""`python -m services.sending serve|migrate|…`."""

from chassis.command import service_command
from services.sending.sealed_columns import SEALED_COLUMNS
from services.sending.server import serve
from services.sending.settings import SendingSettings

if __name__ == "__main__":
    command = service_command(
        "sending", SendingSettings, serve, owns="services.sending", seals=SEALED_COLUMNS
    )
    command()
