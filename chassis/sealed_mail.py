"""Mails whose link lets in whoever has it: what they say is sealed by who writes them, until they are handed over.

It is sealed for the place in which the message will be stored that has the order's id, and for its recipient.
"""

from collections.abc import Mapping
from uuid import UUID

from cryptography.exceptions import InvalidTag

from chassis.email_address import EmailAddress
from chassis.sealing import Sealer
from chassis.secret import Secret
from flownurture.sending.v1.sealed_mail_pb2 import MailBody


class DoesNotOpen(Exception):
    """What is sealed is not this message's, or none of our keys sealed it."""


class SealedMails:
    """Seals and opens what mails say, with the keys that all have who do so, by key id."""

    def __init__(self, keys: Mapping[str, Secret]) -> None:
        self._sealer = Sealer("sending", keys)

    def seal(self, order_id: UUID, body: MailBody) -> bytes:
        """What the order with this id carries."""
        plain = body.SerializeToString()
        return self._sealer.seal(plain, table="message_contents", row=order_id, column="sealed_body")

    def open(self, sealed: bytes, order_id: UUID, to: str) -> MailBody:
        """What the mail of this order says to its recipient, whose address is normalized. Raises DoesNotOpen."""
        try:
            plain = self._sealer.open(sealed, table="message_contents", row=order_id, column="sealed_body")
        except KeyError as unknown:
            raise DoesNotOpen(f"no key has the id {unknown}") from None
        except (InvalidTag, ValueError):
            raise DoesNotOpen("it was sealed for another message, or changed") from None
        body = MailBody.FromString(plain)
        if EmailAddress.parse(body.to).text != to:
            raise DoesNotOpen("it was sealed for another recipient")
        return body
