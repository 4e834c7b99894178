"""What the workflows process is told by its environment."""

from pydantic import Field

from chassis.settings import DatabaseSettings, EventsSettings, ProcessSettings


class WorkflowsSettings(ProcessSettings, DatabaseSettings, EventsSettings):
    """The workflows process asks who contacts are, and what plans allow."""

    contacts_target: str = Field(
        description="host:port, or a DNS name and port, of the contacts process, which knows whom a rule fits"
    )
    identity_target: str = Field(
        description="host:port, or a DNS name and port, of the identity process, which knows what plans allow"
    )
