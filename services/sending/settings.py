"""What the sending process is told by its environment."""

from pydantic import Field, Json

from chassis.secret import Secret
from chassis.settings import DatabaseSettings, EventsSettings, ProcessSettings, SealingSettings


class SendingSettings(ProcessSettings, DatabaseSettings, EventsSettings, SealingSettings):
    """The sending process asks the contacts process whom a campaign reaches."""

    account_mail_from: str = Field(description="the address from which mails about accounts come")
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
