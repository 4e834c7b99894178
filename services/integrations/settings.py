"""What the integrations process is told by its environment."""

from pydantic import Field

from chassis.settings import DatabaseSettings, EventsSettings, ProcessSettings
from services.integrations.ai.settings import AiSettings


class IntegrationsSettings(ProcessSettings, DatabaseSettings, EventsSettings, AiSettings):
    """The integrations process asks other services, and a language model where its operator has one."""

    sending_target: str = Field(
        description="host:port or gRPC target of sending, which looks at drafted mails"
    )
