"""The header field that has a provider carry a message's token, for it to give back with each event about the message.

Providers take their own fields off a mail, so none of these is signed. SES needs none: it gives back the return path.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from services.sending.signed_addresses import CARRIED_AS


class Provider(StrEnum):
    """Who runs a relay, where it is a provider that tells of bounces and complaints by posts."""

    BREVO = "brevo"
    MAILGUN = "mailgun"
    POSTMARK = "postmark"
    SENDGRID = "sendgrid"
    SES = "ses"


class Carrier(NamedTuple):
    """A field of a header, but for the token in it."""

    before: bytes
    after: bytes

    def field(self, token: str) -> bytes:
        """The field with a token, in one line."""
        return self.before + token.encode() + self.after


_CARRIERS: Mapping[str, Carrier] = {
    Provider.BREVO: Carrier(b"X-Mailin-custom: ", b"\r\n"),
    Provider.MAILGUN: Carrier(f'X-Mailgun-Variables: {{"{CARRIED_AS}": "'.encode(), b'"}\r\n'),
    Provider.POSTMARK: Carrier(f"X-PM-Metadata-{CARRIED_AS}: ".encode(), b"\r\n"),
    Provider.SENDGRID: Carrier(f'X-SMTPAPI: {{"unique_args": {{"{CARRIED_AS}": "'.encode(), b'"}}\r\n'),
}


def carrier_of(provider: str) -> Carrier | None:
    """How a provider carries tokens; None for one that needs no field, and for a relay that is no provider's."""
    return _CARRIERS.get(provider)
