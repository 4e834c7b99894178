"""The links by which people confirm that it was they who filled in a form."""

from collections.abc import Sequence
from uuid import UUID

from chassis.context import RequestContext
from chassis.errors import NotFound
from chassis.links import LinkSigner
from chassis.secret import Secret

_PURPOSE = "confirm-subscription"
_ID_BYTES = 16


class ConfirmationLinks:
    """Makes and opens them. `public_url` is where the gateway is reached from outside, without a final slash."""

    def __init__(self, keys: Sequence[Secret], public_url: str) -> None:
        self._signer = LinkSigner(keys)
        self._prefix = f"{public_url.rstrip('/')}/f/confirm/"

    def url(self, organization_id: UUID, submission_id: UUID) -> str:
        """The link of one submission."""
        return self._prefix + self._signer.sign(_PURPOSE, organization_id, submission_id.bytes)

    def open(self, token: str) -> tuple[RequestContext, UUID]:
        """The organization's context and the submission of a genuine token; raises NotFound for any other text."""
        context, payload = self._signer.open(_PURPOSE, token)
        if len(payload) != _ID_BYTES:
            raise NotFound("link")
        return context, UUID(bytes=payload)
