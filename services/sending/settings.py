"""What the sending process is told by its environment."""

from pydantic import Field

from chassis.settings import DatabaseSettings, EventsSettings, ProcessSettings


class SendingSettings(ProcessSettings, DatabaseSettings, EventsSettings):
    """The sending process asks the contacts process whom a campaign reaches."""

    contacts_target: str = Field(description="host:port, or a DNS name and port, of the contacts process")
