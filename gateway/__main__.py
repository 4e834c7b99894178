"""`python -m gateway serve`: the public edge."""

from chassis.command import service_command
from gateway.server import serve
from gateway.settings import GatewaySettings

if __name__ == "__main__":
    service_command("gateway", GatewaySettings, serve)()
