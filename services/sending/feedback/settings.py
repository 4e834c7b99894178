"""What the feedback process is told by its environment."""

from pydantic import Field

from chassis.settings import Address, DatabaseSettings, EventsSettings, ProcessSettings


class FeedbackSettings(ProcessSettings, DatabaseSettings, EventsSettings):
    """The feedback process listens for bounces and complaints."""

    smtp_listen: Address = Field(description="host:port on which reports are taken in by SMTP")
