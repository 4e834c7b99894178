"""What the integrations process is told by its environment."""

from chassis.settings import DatabaseSettings, EventsSettings, ProcessSettings


class IntegrationsSettings(ProcessSettings, DatabaseSettings, EventsSettings):
    """The integrations process has nothing of its own to be told."""
