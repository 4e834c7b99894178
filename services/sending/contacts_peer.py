"""The contacts process as the sending process asks it."""

from collections.abc import Sequence
from uuid import UUID

from chassis.context import RequestContext
from chassis.identifiers import parse_id
from chassis.rpc.client import Peer
from flownurture.contacts.v1.audience_pb2 import ListRecipientsRequest
from flownurture.contacts.v1.audience_pb2_grpc import AudienceServiceStub
from services.sending.recipients import Page, Recipient


class ContactsPeer:
    """Recipients by a call to AudienceService."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    async def page(
        self, context: RequestContext, list_ids: Sequence[UUID], *, after: UUID | None, size: int
    ) -> Page:
        """The next page of the lists' contacts behind `after`. Raises NotFound that names a list, or Unavailable."""
        audience = AudienceServiceStub(self._peer.channel)
        answer = await self._peer.call(
            audience.ListRecipients,
            ListRecipientsRequest(
                list_ids=map(str, list_ids),
                after_contact_id=str(after) if after else "",
                page_size=size,
            ),
            RequestContext.of_process("sending", context.organization, request_id=context.request_id),
        )
        recipients = [
            Recipient(parse_id(recipient.contact_id), recipient.email) for recipient in answer.recipients
        ]
        return Page(recipients, last=answer.last_page or not recipients)
