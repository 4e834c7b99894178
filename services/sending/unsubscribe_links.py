"""The links by which a person opts out. They carry all that is needed: a deleted contact's link works as well."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from chassis.context import RequestContext
from chassis.errors import NotFound
from chassis.links import LinkSigner
from chassis.secret import Secret

_PURPOSE = "unsubscribe"
_ID_BYTES = 16
_DIGEST_BYTES = 32


@dataclass(frozen=True, slots=True)
class OptOut:
    """Whose link it is: the message it stood in and the digest of the address it went to."""

    context: RequestContext
    message_id: UUID
    digest: bytes


class UnsubscribeLinks:
    """Makes and opens them. `public_url` is where the gateway is reached from outside, without a final slash."""

    def __init__(self, keys: Sequence[Secret], public_url: str) -> None:
        self._signer = LinkSigner(keys)
        self._prefix = f"{public_url.rstrip('/')}/u/"

    def url(self, organization_id: UUID, message_id: UUID, digest: bytes) -> str:
        """The link for one message to one address."""
        return self._prefix + self._signer.sign(_PURPOSE, organization_id, message_id.bytes + digest)

    def open(self, token: str) -> OptOut:
        """What a genuine token says; raises NotFound for any other text."""
        context, payload = self._signer.open(_PURPOSE, token)
        if len(payload) != _ID_BYTES + _DIGEST_BYTES:
            raise NotFound("link")
        return OptOut(context, UUID(bytes=payload[:_ID_BYTES]), payload[_ID_BYTES:])
