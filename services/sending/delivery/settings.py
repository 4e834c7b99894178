"""What the delivery process is told by its environment."""

from pathlib import Path

from pydantic import Field, Json

from chassis.secret import Secret
from chassis.settings import (
    DatabaseSettings,
    EventsSettings,
    ProcessSettings,
)
from chassis.vault.settings import FormerlySealedSettings, Keys, SealedMailSettings
from services.sending.delivery.carriers import Provider


class DeliverySettings(
    ProcessSettings, DatabaseSettings, EventsSettings, FormerlySealedSettings, SealedMailSettings
):
    """The delivery process hands mail to a relay and writes the links by which people opt out."""

    link_keys: Json[list[Secret]] = Field(
        description="keys of links in mail: JSON list of 32 bytes in base64; the first signs, all verify"
    )
    public_url: str = Field(description="where the gateway is reached from outside, as https://host")
    sealed_mail_keys: Json[Keys] | None = Field(
        None,
        description="the keys of mails that were sealed before there were envelopes: JSON, key id to 32 bytes in base64; of "
        "no use any more a week after the last process that sealed by them",
    )
    smtp_url: Secret = Field(
        description="the relay, as smtp://[user:password@]host:port or smtps://…; TLS wherever it is offered, and verified"
    )
    smtp_provider: Provider | None = Field(
        None,
        description="whose relay SMTP_URL is, if it is a provider's that posts bounces and complaints: brevo, mailgun, postmark, sendgrid or ses",
    )
    system_smtp_url: Secret | None = Field(
        None,
        description="the relay of the platform's own mail, as SMTP_URL; the same where it is empty, on connections of its own",
    )
    journal_folder: Path = Field(
        description="where its journal outlives it, on this machine; the delivery processes of one database may share it"
    )
    mail_hostname: str = Field(description="our name in EHLO, Message-ID and the return path")
    shared_domain: str = Field(description="the domain of mail whose own domain is not verified")
