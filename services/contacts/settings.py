"""What the contacts process is told by its environment."""

from pydantic import Field, Json

from chassis.secret import Secret
from chassis.settings import DatabaseSettings, EventsSettings, ProcessSettings
from chassis.vault.settings import SealedMailSettings


class ContactsSettings(ProcessSettings, DatabaseSettings, EventsSettings, SealedMailSettings):
    """The contacts process shows forms to the public, and takes in who confirms what they have filled in."""

    database_lookup_url: Secret = Field(
        description="postgresql://…, the role that reads whose a form is, before an organization is known"
    )
    link_keys: Json[list[Secret]] = Field(
        description="keys of links in mail: JSON list of 32 bytes in base64; the first signs, all verify"
    )
    public_url: str = Field(description="where the gateway is reached from outside, as https://host")
    identity_target: str = Field(description="host:port, or a DNS name and port, of the identity process")
