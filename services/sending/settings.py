"""What the sending process is told by its environment."""

from pydantic import Field

from chassis.settings import DatabaseSettings, EventsSettings, ProcessSettings


class SendingSettings(ProcessSettings, DatabaseSettings, EventsSettings):
    """The sending process asks the contacts process whom a campaign reaches."""

    account_mail_from: str = Field(description="the address from which mails about accounts come")
    account_mail_from_name: str = Field("FlowNurture", description="the name beside it")
    identity_target: str = Field(description="host:port, or a DNS name and port, of the identity process")
    contacts_target: str = Field(description="host:port, or a DNS name and port, of the contacts process")
