"""`python -m services.sending.workflows serve|…`."""

from chassis.command import service_command
from services.sending.workflows.server import serve
from services.sending.workflows.settings import WorkflowsSettings

if __name__ == "__main__":
    service_command("workflows", WorkflowsSettings, serve)()
