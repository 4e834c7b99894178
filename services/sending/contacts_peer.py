"""The contacts process as the sending process asks it."""

from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from itertools import repeat
from uuid import UUID

from chassis.context import RequestContext
from chassis.rpc.client import Peer
from flownurture.contacts.v1 import audience_pb2 as pb
from flownurture.contacts.v1.audience_pb2_grpc import AudienceServiceStub
from services.sending.recipients import Audience, Recipient, Selection, parse_fields

# A stream that lasts longer is taken up where it was.
_MOST_SECONDS = 600.0


class ContactsPeer:
    """Recipients by a call to AudienceService."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    async def stream(
        self,
        context: RequestContext,
        audience: Audience,
        *,
        custom_fields: Sequence[str],
        after: UUID | None,
        size: int,
    ) -> AsyncGenerator[Sequence[Recipient], None]:
        """The audience behind `after`, in batches. Raises NotFound that names a list, segment or tag; Unavailable."""
        batches = self._peer.stream(
            AudienceServiceStub(self._peer.channel).StreamRecipients,
            pb.StreamRecipientsRequest(
                include=_selection(audience.include),
                exclude=_selection(audience.exclude),
                after_contact_id=str(after) if after else "",
                batch_size=size,
                custom_fields=custom_fields,
            ),
            RequestContext.of_process("sending", context.organization, request_id=context.request_id),
            _MOST_SECONDS,
        )
        async with aclosing(batches):
            async for batch in batches:
                yield list(_recipients(batch))


def _selection(selection: Selection) -> pb.Selection:
    return pb.Selection(
        list_ids=map(str, selection.list_ids),
        segment_ids=map(str, selection.segment_ids),
        tags=selection.tags,
    )


def _recipients(batch: pb.RecipientBatch) -> Iterator[Recipient]:
    # No field is asked for, and none comes.
    values = batch.custom_fields or repeat("{}", len(batch.contact_ids))
    columns = (batch.contact_ids, batch.emails, batch.email_digests, batch.first_names, batch.last_names)
    for contact_id, email, digest, first_name, last_name, custom_fields in zip(*columns, values, strict=True):
        known = parse_fields(custom_fields)
        yield Recipient(UUID(bytes=contact_id), email, digest, first_name, last_name, known)
