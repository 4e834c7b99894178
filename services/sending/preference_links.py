"""The links behind which a person sees whether they get mail; and those that they confirm by that they want it again."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from chassis.context import RequestContext
from chassis.errors import NotFound
from chassis.links import LinkSigner
from chassis.secret import Secret

_PREFERENCES = "preferences"
_RETURN = "return"
_ID_BYTES = 16
_DIGEST_BYTES = 32
_TIME_BYTES = 5


@dataclass(frozen=True, slots=True)
class Preferences:
    """Whose link it is: the message it stood in and the digest of the address it went to."""

    context: RequestContext
    message_id: UUID
    digest: bytes


@dataclass(frozen=True, slots=True)
class Return:
    """Who wants mail again: the digest of the address that the link was sent to, and how long it counts."""

    context: RequestContext
    digest: bytes
    until: datetime


class PreferenceLinks:
    """Makes and opens them. `public_url` is where the gateway is reached from outside, without a final slash."""

    def __init__(self, keys: Sequence[Secret], public_url: str) -> None:
        self._signer = LinkSigner(keys)
        self._prefix = f"{public_url.rstrip('/')}/p/"

    def url(self, organization_id: UUID, message_id: UUID, digest: bytes) -> str:
        """The link for one message to one address."""
        return self._prefix + self._signer.sign(_PREFERENCES, organization_id, message_id.bytes + digest)

    def return_url(self, organization_id: UUID, digest: bytes, until: datetime) -> str:
        """The link that ends an address' opt-out; it proves only what a mail to that address proves."""
        moment = int(until.timestamp()).to_bytes(_TIME_BYTES)
        return self._prefix + self._signer.sign(_RETURN, organization_id, digest + moment)

    def open(self, token: str) -> Preferences | Return:
        """What a genuine token says, also one whose time is over; raises NotFound for any other text."""
        try:
            context, payload = self._signer.open(_PREFERENCES, token)
        except NotFound:
            return self._open_return(token)
        if len(payload) != _ID_BYTES + _DIGEST_BYTES:
            raise NotFound("link")
        return Preferences(context, UUID(bytes=payload[:_ID_BYTES]), payload[_ID_BYTES:])

    def _open_return(self, token: str) -> Return:
        context, payload = self._signer.open(_RETURN, token)
        if len(payload) != _DIGEST_BYTES + _TIME_BYTES:
            raise NotFound("link")
        moment = int.from_bytes(payload[_DIGEST_BYTES:])
        return Return(context, payload[:_DIGEST_BYTES], datetime.fromtimestamp(moment, UTC))
