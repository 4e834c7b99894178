"""What the webhooks process is told by its environment."""

from chassis.settings import DatabaseSettings, EventsSettings, ProcessSettings
from chassis.vault.settings import FormerlySealedSettings
from services.webhooks.outbound.settings import WebhookDestinationSettings


class WebhooksSettings(
    ProcessSettings, DatabaseSettings, EventsSettings, FormerlySealedSettings, WebhookDestinationSettings
):
    """The webhooks process seals what endpoints sign with, and posts where its operator lets it."""
