"""What identity is told by its environment."""

from typing import Annotated

from pydantic import Field, Json

from chassis.secret import Secret
from chassis.settings import (
    DatabaseSettings,
    EnvironmentSettings,
    EventsSettings,
    PrivateKey,
    ProcessSettings,
)
from chassis.vault.settings import FormerlySealedSettings, SealedMailSettings


class AuditSettings(EnvironmentSettings):
    """What an operator's command about the audit trail needs."""

    database_platform_url: Secret = Field(
        description="postgresql://…, the role that reads organizations and audit trails for the platform's operators"
    )


class IdentitySettings(
    ProcessSettings,
    DatabaseSettings,
    EventsSettings,
    AuditSettings,
    SealedMailSettings,
    FormerlySealedSettings,
):
    """Everything that `serve` needs."""

    database_lookup_url: Secret = Field(
        description="postgresql://…, the role that reads what is asked before an organization is known"
    )
    redis_url: Secret = Field(
        description="redis://[user:password@]host:port, shared with the gateways: the grants of live credentials"
    )
    jwt_private_keys: Json[Annotated[dict[str, PrivateKey], Field(min_length=1)]] = Field(
        description="the Ed25519 keys of access tokens: JSON, key id to 32 bytes in base64; the first one signs"
    )
    contacts_target: str = Field(description="host:port or gRPC target of contacts, which counts them")
    sending_target: str = Field(description="host:port or gRPC target of sending, which counts e-mails")
    webhooks_target: str = Field(description="host:port or gRPC target of webhooks, which counts endpoints")
    integrations_target: str = Field(
        description="host:port or gRPC target of integrations, which counts tokens of language models"
    )
    public_url: str = Field(
        description="where clients reach the gateway: links in mails about accounts lead there"
    )
    sign_ups_per_hour: int = Field(
        600,
        ge=1,
        le=100_000,
        description="how many sign-ups an hour one client address may make; as many at once",
    )
    dead_letter_targets: Json[dict[str, str]] = Field(
        description="the processes that read events, and say which they gave up: JSON, name to host:port or gRPC target"
    )
    jwt_issuer: str = Field(description="the iss claim of access tokens")
    jwt_audience: str = Field(description="the aud claim of access tokens")
    super_admin_email: str | None = Field(
        None, description="address of a super admin to make sure of at start; needs the password too"
    )
    super_admin_password: Secret | None = Field(
        None, description="the password that this super admin is made with; an existing one keeps its own"
    )
