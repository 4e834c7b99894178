"""The contacts process as the sending process asks it."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from uuid import UUID

from chassis.context import RequestContext
from chassis.rpc.client import Peer
from flownurture.contacts.v1.audience_pb2 import Selection, StreamRecipientsRequest
from flownurture.contacts.v1.audience_pb2_grpc import AudienceServiceStub
from services.sending.recipients import Recipient

# A stream that lasts longer is taken up where it was.
_MOST_SECONDS = 600.0


class ContactsPeer:
    """Recipients by a call to AudienceService."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    async def stream(
        self, context: RequestContext, list_ids: Sequence[UUID], *, after: UUID | None, size: int
    ) -> AsyncGenerator[Sequence[Recipient], None]:
        """The lists' contacts behind `after`, in batches. Raises NotFound that names a list, Unavailable."""
        batches = self._peer.stream(
            AudienceServiceStub(self._peer.channel).StreamRecipients,
            StreamRecipientsRequest(
                include=Selection(list_ids=map(str, list_ids)),
                after_contact_id=str(after) if after else "",
                batch_size=size,
            ),
            RequestContext.of_process("sending", context.organization, request_id=context.request_id),
            _MOST_SECONDS,
        )
        async with aclosing(batches):
            async for batch in batches:
                rows = zip(batch.contact_ids, batch.emails, batch.email_digests, strict=True)
                yield [Recipient(UUID(bytes=contact_id), email, digest) for contact_id, email, digest in rows]
