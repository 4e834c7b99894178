"""What the suppression process is told by its environment."""

from pydantic import Field, Json

from chassis.secret import Secret
from chassis.settings import DatabaseSettings, EventsSettings, ProcessSettings
from chassis.vault.settings import SealedMailSettings


class SuppressionSettings(ProcessSettings, DatabaseSettings, EventsSettings, SealedMailSettings):
    """The suppression process opens the links by which people opt out."""

    database_consent_url: Secret = Field(
        description="postgresql://…, the role that adds to the ledger of confirmed re-subscriptions"
    )
    contacts_target: str = Field(
        description="host:port, or a DNS name and port, of the contacts process, which knows whose lists are whose"
    )
    identity_target: str = Field(
        description="host:port, or a DNS name and port, of the identity process, which knows whether there is an organization"
    )
    link_keys: Json[list[Secret]] = Field(
        description="keys of links in mail: JSON list of 32 bytes in base64; the first signs, all verify"
    )
    public_url: str = Field(description="where the gateway is reached from outside, as https://host")
