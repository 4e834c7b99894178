"""Bodies of mails whose link lets in whoever has it: opened here, as the mail is written, and nowhere before."""

from collections.abc import Mapping
from uuid import UUID

from cryptography.exceptions import InvalidTag

from chassis.email_address import EmailAddress
from chassis.sealing import Sealer
from chassis.secret import Secret
from flownurture.sending.v1.sealed_mail_pb2 import MailBody
from services.sending.bodies import Body


class DoesNotOpen(Exception):
    """What is sealed is not this message's, or none of our keys sealed it."""


class SealedBodies:
    """Opens them, with the keys that those have who seal them."""

    def __init__(self, keys: Mapping[str, Secret]) -> None:
        self._sealer = Sealer("sending", keys)

    def open(self, sealed: bytes, message_id: UUID, email: str) -> Body:
        """What the message says to this recipient. Raises DoesNotOpen."""
        try:
            plain = self._sealer.open(sealed, table="message_contents", row=message_id, column="sealed_body")
        except KeyError as unknown:
            raise DoesNotOpen(f"no key has the id {unknown}") from None
        except (InvalidTag, ValueError):
            raise DoesNotOpen("it was sealed for another message, or changed") from None
        body = MailBody.FromString(plain)
        if EmailAddress.parse(body.to).text != email:
            raise DoesNotOpen("it was sealed for another recipient")
        return Body(body.html, body.text)
