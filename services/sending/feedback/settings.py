"""What the feedback process is told by its environment."""

from pydantic import Field

from chassis.settings import Address, DatabaseSettings, ProcessSettings


class FeedbackSettings(ProcessSettings, DatabaseSettings):
    """The feedback process takes bounces and complaints in by SMTP."""

    smtp_listen: Address = Field(description="host:port on which reports are accepted by SMTP")
