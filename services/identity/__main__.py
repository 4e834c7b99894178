"""`python -m services.identity`: the commands of the identity process."""

from chassis.command import service_command
from services.identity import audit_command
from services.identity.api_keys import SEALED_COLUMNS
from services.identity.second_factors import SEEDS
from services.identity.server import serve
from services.identity.settings import IdentitySettings

if __name__ == "__main__":
    command = service_command(
        "identity",
        IdentitySettings,
        serve,
        owns="services.identity",
        seals=SEALED_COLUMNS,
        encloses=(SEEDS,),
    )
    command.add_typer(audit_command.app, name="audit")
    command()
