"""`python -m services.webhooks serve|migrate|…`."""

from chassis.command import service_command
from services.webhooks.endpoint_secrets import SEALED_COLUMNS
from services.webhooks.server import serve
from services.webhooks.settings import WebhooksSettings

if __name__ == "__main__":
    command = service_command(
        "webhooks", WebhooksSettings, serve, owns="services.webhooks", seals=SEALED_COLUMNS
    )
    command()
