"""What the integrations process is told by its environment."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, Json, model_validator

from chassis.secret import Secret
from chassis.settings import DatabaseSettings, EnvironmentSettings, EventsSettings, ProcessSettings
from chassis.vault.settings import VaultSettings
from services.integrations.ai.settings import AiSettings
from services.integrations.crm.oauth import App
from services.integrations.crm.provider import Addresses
from services.integrations.crm.providers import PROVIDERS


class CrmSettings(BaseModel):
    """A CRM that accounts can be connected of. Without an app of the operator's, by their own keys alone."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    client_id: Annotated[str, Field(min_length=1)] | None = None
    client_secret: Secret | None = None
    # Elsewhere than where the world finds it, as a sandbox of it is: scheme and authority.
    consent_url: str | None = None
    tokens_url: str | None = None
    api_url: str | None = None

    @model_validator(mode="after")
    def _app_is_whole(self) -> "CrmSettings":
        if (self.client_id is None) != (self.client_secret is None):
            raise ValueError("client_id and client_secret come together")
        return self

    def app(self) -> App | None:
        """What is registered with it, if anything is."""
        if self.client_id is None or self.client_secret is None:
            return None
        return App(self.client_id, self.client_secret)

    def addresses(self, public: Addresses) -> Addresses:
        """Where it is."""
        return Addresses(
            self.consent_url or public.consent, self.tokens_url or public.tokens, self.api_url or public.api
        )


def _known(crms: dict[str, CrmSettings]) -> dict[str, CrmSettings]:
    if strangers := crms.keys() - PROVIDERS.keys():
        raise ValueError(f"{min(strangers)} is none of {', '.join(PROVIDERS)}")
    return crms


class ConnectionSettings(EnvironmentSettings):
    """What a process that connects accounts of CRMs needs."""

    crms: Json[Annotated[dict[str, CrmSettings], AfterValidator(_known)]] = Field(
        "{}",
        validate_default=True,
        description="the CRMs that accounts can be connected of: JSON, hubspot, salesforce or pipedrive to"
        ' {"client_id": …, "client_secret": …} of the app that is registered there, or to {} for API keys alone',
    )
    authorization_state_keys: Json[Annotated[list[Secret], Field(min_length=1)]] = Field(
        description="keys of what comes back from a CRM: JSON list of 32 bytes in base64; the first signs, all verify"
    )
    public_url: str = Field(description="where the gateway is reached from outside, as https://host")
    identity_target: str = Field(description="host:port, or a DNS name and port, of the identity process")


class IntegrationsSettings(
    ProcessSettings, DatabaseSettings, EventsSettings, VaultSettings, ConnectionSettings, AiSettings
):
    """The integrations process connects accounts of CRMs, asks other services, and a language model where its operator has one."""

    contacts_target: str = Field(
        description="host:port or gRPC target of contacts, where questions are looked up, and synced"
    )
    suppression_target: str = Field(
        description="host:port or gRPC target of suppression, which is told of opt-outs"
    )
    sync_interval_seconds: int = Field(
        900,
        ge=60,
        le=86_400,
        description="between the end of a connection's sync and the beginning of the next, give or take a tenth",
    )
    sending_target: str = Field(
        description="host:port or gRPC target of sending, where questions are looked up, too, and drafts checked"
    )
