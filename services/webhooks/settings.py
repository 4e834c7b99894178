"""What the webhooks process is told by its environment."""

from chassis.settings import DatabaseSettings, EventsSettings, ProcessSettings


class WebhooksSettings(ProcessSettings, DatabaseSettings, EventsSettings):
    """The webhooks process has nothing of its own to be told."""
