"""The pixel and the links of tracked mails: one signature a message, whatever the number of its links.

A pixel is `/t/o/<message>`, a link `/t/c/<number><message>`. `<message>` is signed and names organization, mailing and message: a mailing is a
campaign, or the mail of a workflow's step.
The number is two characters and not signed: it picks one of the addresses that stand in the very mail that the signed part comes
from. So a link is 80 characters long, and its number the same in every mail of a campaign.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from chassis.context import RequestContext
from chassis.errors import NotFound
from chassis.links import LEAST_MAC_BYTES, LinkSigner
from chassis.secret import Secret

_PURPOSE = "tracking"
_ID_BYTES = 16
_DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_VALUES = {digit: value for value, digit in enumerate(_DIGITS)}
_NUMBER_LENGTH = 2
# Links are numbered from 1.
MOST_LINKS = len(_DIGITS) ** _NUMBER_LENGTH - 1


@dataclass(frozen=True, slots=True)
class TrackedMessage:
    """The message that a pixel or link stands in."""

    context: RequestContext
    # The campaign, or the mail of a workflow, whose links it has.
    mailing_id: UUID
    message_id: UUID


class TrackingLinks:
    """Makes and opens them. `public_url` is where the gateway is reached from outside, without a final slash."""

    def __init__(self, keys: Sequence[Secret], public_url: str) -> None:
        self._signer = LinkSigner(keys, mac_bytes=LEAST_MAC_BYTES)
        self._prefix = f"{public_url.rstrip('/')}/t"

    def token(self, organization_id: UUID, mailing_id: UUID, message_id: UUID) -> str:
        """What the pixel and all links of a message end with."""
        return self._signer.sign(_PURPOSE, organization_id, mailing_id.bytes + message_id.bytes)

    @property
    def pixel(self) -> str:
        """What stands before the token in the address of a pixel."""
        return f"{self._prefix}/o/"

    def link(self, number: int) -> str:
        """What stands before the token in a link."""
        return f"{self._prefix}/c/{_DIGITS[number >> 6]}{_DIGITS[number & 63]}"

    def opened(self, token: str) -> TrackedMessage:
        """Whose pixel it is; raises NotFound for any text but a genuine token."""
        context, payload = self._signer.open(_PURPOSE, token)
        if len(payload) != 2 * _ID_BYTES:
            raise NotFound("link")
        return TrackedMessage(context, UUID(bytes=payload[:_ID_BYTES]), UUID(bytes=payload[_ID_BYTES:]))

    def clicked(self, token: str) -> tuple[TrackedMessage, int]:
        """Whose link it is, and its number; raises NotFound for any text but a genuine token."""
        high, low = (_VALUES.get(digit, 0) for digit in token[:_NUMBER_LENGTH].rjust(_NUMBER_LENGTH))
        return self.opened(token[_NUMBER_LENGTH:]), high << 6 | low
