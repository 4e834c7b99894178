"""Mails whose link lets in whoever has it: what they say is sealed by who writes them, until they are handed over.

It is sealed for the place in which the message will be stored that has the order's id, and for its recipient.
"""

from collections.abc import Mapping
from uuid import UUID

from chassis.email_address import EmailAddress
from chassis.sealing import Sealer
from chassis.secret import Secret
from chassis.vault.envelopes import Envelopes
from chassis.vault.wrapping import DoesNotOpen, Wrapping
from flownurture.sending.v1.sealed_mail_pb2 import MailBody


class SealedMails:
    """Seals and opens what mails say; `former` are the keys, by id, of those that were sealed before there were envelopes.

    Both raise Unavailable when the keeper of the key-encryption key does not answer.
    """

    def __init__(self, wrapping: Wrapping, former: Mapping[str, Secret] | None = None) -> None:
        self._envelopes = Envelopes(
            wrapping,
            schema="sending",
            table="message_contents",
            column="sealed_body",
            former=Sealer("sending", former) if former else None,
        )

    async def seal(self, order_id: UUID, body: MailBody) -> bytes:
        """What the order with this id carries."""
        return await self._envelopes.seal(body.SerializeToString(), row=order_id)

    async def open(self, sealed: bytes, order_id: UUID, to: str) -> MailBody:
        """What the mail of this order says to its recipient, whose address is normalized. Raises DoesNotOpen."""
        body = MailBody.FromString((await self._envelopes.open(sealed, row=order_id)).reveal())
        if EmailAddress.parse(body.to).text != to:
            raise DoesNotOpen
        return body
