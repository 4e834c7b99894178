"""What the sending process is told by its environment."""

from pydantic import Field, Json, ValidationInfo, field_validator

from chassis.email_address import EmailAddress
from chassis.secret import Secret
from chassis.settings import DatabaseSettings, EventsSettings, ProcessSettings
from chassis.vault.settings import FormerlySealedSettings


class SendingSettings(ProcessSettings, DatabaseSettings, EventsSettings, FormerlySealedSettings):
    """The sending process asks the contacts process whom a campaign reaches."""

    database_erasure_url: Secret = Field(
        description="postgresql://…, the role that notes which organizations are erased"
    )
    account_mail_from: str = Field(
        description="the address from which mails about accounts come; its domain is nobody else's, SHARED_DOMAIN neither"
    )
    account_mail_from_name: str = Field("FlowNurture", description="the name beside it")
    link_keys: Json[list[Secret]] = Field(
        description="keys of links in mail: JSON list of 32 bytes in base64; the first signs, all verify"
    )
    public_url: str = Field(description="where the gateway is reached from outside, as https://host")
    mail_hostname: str = Field(description="where the return paths of tenants' domains lead to")
    spf_host: str = Field(description="whose SPF record tenants' domains include")
    shared_domain: str = Field(description="the domain of mail whose own domain is not verified")
    dns_resolver: str = Field(
        "", description="the resolver for tenants' records, as host:port; the system's where it is empty"
    )
    identity_target: str = Field(description="host:port, or a DNS name and port, of the identity process")
    contacts_target: str = Field(description="host:port, or a DNS name and port, of the contacts process")
    webhooks_target: str = Field(description="host:port, or a DNS name and port, of the webhooks process")

    @field_validator("shared_domain")
    @classmethod
    def _keep_apart(cls, shared: str, info: ValidationInfo) -> str:
        # What tenants send must not touch the reputation of the mails by which people get into their accounts.
        if "account_mail_from" in info.data and shared == domain_of(info.data["account_mail_from"]):
            raise ValueError("must not be the domain of ACCOUNT_MAIL_FROM")
        return shared


def domain_of(address: str) -> str:
    """The domain of an address, as the DNS knows it. Raises ValueError when it is none."""
    return EmailAddress.parse(address).ascii_domain
