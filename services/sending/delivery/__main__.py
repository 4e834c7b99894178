"""`python -m services.sending.delivery serve|…`."""

from chassis.command import service_command
from services.sending.delivery.server import serve
from services.sending.delivery.settings import DeliverySettings

if __name__ == "__main__":
    service_command("delivery", DeliverySettings, serve)()
