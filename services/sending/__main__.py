"""`python -m services.sending serve|migrate|…`."""

from chassis.command import service_command
from services.sending.server import serve
from services.sending.settings import SendingSettings

if __name__ == "__main__":
    service_command("sending", SendingSettings, serve, owns="services.sending")()
