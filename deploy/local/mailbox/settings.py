"""Where the mailbox simulator listens, keeps mail, and sends its reports."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_settings import BaseSettings


def host_and_port(address: str) -> tuple[str, int]:
    """The two parts of `host:port`; an IPv6 host stands in brackets. Raises ValueError."""
    host, separator, port = address.rpartition(":")
    if not separator or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"{address!r} is not host:port")
    return host.removeprefix("[").removesuffix("]") or "127.0.0.1", int(port)


def _readable(address: str) -> str:
    host_and_port(address)
    return address


Address = Annotated[str, AfterValidator(_readable)]


class MailboxSettings(BaseSettings):
    """The environment of `python -m deploy.local.mailbox`; addresses are `host:port`."""

    mailbox_smtp_listen: Address = Field(
        default="127.0.0.1:1025", description="Where mail is accepted (SMTP)."
    )
    mailbox_http_listen: Address = Field(
        default="127.0.0.1:8025", description="Where mail is read (HTTP: API and page)."
    )
    mailbox_store: Path | None = Field(
        default=None,
        description="The file mail is kept in, so that it survives a restart. Without it, nothing does.",
    )
    mailbox_slow_seconds: float = Field(
        default=5, ge=0, description="How long `slow@` waits before it answers."
    )
    mailbox_report_seconds: float = Field(
        default=2, ge=0, description="How long after a message its bounce or complaint is reported."
    )
    feedback_smtp: Address | None = Field(
        default=None, description="Where ARF and DSN reports are sent (SMTP). Without it, there are none."
    )
    log_level: str = Field(default="INFO", description="The least level that is logged.")
