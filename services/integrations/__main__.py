"""`python -m services.integrations serve|migrate|…`."""

from chassis.command import service_command
from services.integrations.sealed_columns import SEALED_COLUMNS
from services.integrations.server import serve
from services.integrations.settings import IntegrationsSettings

if __name__ == "__main__":
    service_command(
        "integrations", IntegrationsSettings, serve, owns="services.integrations", seals=SEALED_COLUMNS
    )()
