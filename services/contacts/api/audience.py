"""AudienceService: decode, call the domain, encode."""

from collections.abc import AsyncIterator

from chassis.context import RequestContext
from chassis.database import Database
from chassis.identifiers import parse_id
from flownurture.contacts.v1 import audience_pb2 as pb
from services.contacts.api.fields import ids_of
from services.contacts.audience import Selection, stream_recipients


class AudienceApi:
    """Whom a campaign is for, as the sending service asks."""

    service = pb.DESCRIPTOR.services_by_name["AudienceService"]

    def __init__(self, database: Database) -> None:
        self._database = database

    async def stream_recipients(
        self, request: pb.StreamRecipientsRequest, context: RequestContext
    ) -> AsyncIterator[pb.RecipientBatch]:
        """The audience behind a contact, in batches. NOT_FOUND names the lists, tags or segments that are not there."""
        batches = stream_recipients(
            self._database,
            context,
            _selection(request.include),
            _selection(request.exclude),
            after=parse_id(request.after_contact_id) if request.after_contact_id else None,
            size=request.batch_size,
            keys=request.custom_fields,
        )
        async for batch in batches:
            contact_ids, emails, digests, first_names, last_names, *values = zip(*batch, strict=True)
            yield pb.RecipientBatch(
                contact_ids=[contact_id.bytes for contact_id in contact_ids],
                emails=emails,
                email_digests=digests,
                first_names=first_names,
                last_names=last_names,
                custom_fields=values[0] if values else (),
            )


def _selection(message: pb.Selection) -> Selection:
    return Selection(
        frozenset(ids_of(message.list_ids)),
        frozenset(ids_of(message.segment_ids)),
        frozenset(message.tags),
    )
