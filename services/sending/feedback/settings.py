"""What the feedback process is told by its environment."""

from pydantic import Field, Json

from chassis.secret import Secret
from chassis.settings import Address, DatabaseSettings, ProcessSettings


class FeedbackSettings(ProcessSettings, DatabaseSettings):
    """The feedback process takes in by SMTP what comes back: bounces, complaints, and mails by which people opt out."""

    smtp_listen: Address = Field(description="host:port on which reports are accepted by SMTP")
    link_keys: Json[list[Secret]] = Field(
        description="keys of links in mail: JSON list of 32 bytes in base64; the first signs, all verify"
    )
    reports_kept_days: int = Field(
        30, ge=1, le=366, description="for how many days reports are kept as they came"
    )
