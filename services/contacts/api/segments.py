"""SegmentService: decode, call the domain, encode."""

from google.protobuf.empty_pb2 import Empty

from chassis.context import RequestContext
from chassis.database import TenantSession
from chassis.identifiers import parse_id
from chassis.pagination import decode_cursor, next_cursor, page_size
from flownurture.contacts.v1 import segments_pb2 as pb
from services.contacts import segments
from services.contacts.api.fields import name_of
from services.contacts.api.rules import document_of, rule_message
from services.contacts.contact_messages import as_message

_SAMPLE = 10


class SegmentApi:
    """Contacts that fit a rule, whenever they are looked for."""

    service = pb.DESCRIPTOR.services_by_name["SegmentService"]

    async def create_segment(
        self, request: pb.CreateSegmentRequest, context: RequestContext, session: TenantSession
    ) -> pb.Segment:
        """Keep a rule. NOT_FOUND for a list or tag that is not there, PERMISSION_DENIED beyond the plan."""
        name = name_of("name", request.name, required=True)
        return _as_message(
            await segments.create_segment(session, name, request.description, document_of(request.rule))
        )

    async def get_segment(
        self, request: pb.GetSegmentRequest, context: RequestContext, session: TenantSession
    ) -> pb.Segment:
        """The segment, or NOT_FOUND."""
        return _as_message(await segments.get_segment(session, parse_id(request.segment_id)))

    async def list_segments(
        self, request: pb.ListSegmentsRequest, context: RequestContext, session: TenantSession
    ) -> pb.ListSegmentsResponse:
        """Segments, newest first."""
        size = page_size(request.page_size)
        found = await segments.page_segments(session, before=decode_cursor(request.page_token), size=size + 1)
        return pb.ListSegmentsResponse(
            segments=map(_as_message, found[:size]), next_page_token=next_cursor(found, size)
        )

    async def update_segment(
        self, request: pb.UpdateSegmentRequest, context: RequestContext, session: TenantSession
    ) -> pb.Segment:
        """Change what is present; as CreateSegment."""
        changed = await segments.update_segment(
            session,
            parse_id(request.segment_id),
            name=name_of("name", request.name, required=True) if request.HasField("name") else None,
            description=request.description if request.HasField("description") else None,
            rule=document_of(request.rule) if request.HasField("rule") else None,
        )
        return _as_message(changed)

    async def delete_segment(
        self, request: pb.DeleteSegmentRequest, context: RequestContext, session: TenantSession
    ) -> Empty:
        """Delete the segment, or NOT_FOUND."""
        await segments.delete_segment(session, parse_id(request.segment_id))
        return Empty()

    async def preview_segment(
        self, request: pb.PreviewSegmentRequest, context: RequestContext, session: TenantSession
    ) -> pb.PreviewSegmentResponse:
        """How many contacts fit a rule now, and the newest of them."""
        count, sample = await segments.preview(
            session, document_of(request.rule), request.sample_size or _SAMPLE
        )
        return pb.PreviewSegmentResponse(count=count, sample=map(as_message, sample))

    async def list_segment_contacts(
        self, request: pb.ListSegmentContactsRequest, context: RequestContext, session: TenantSession
    ) -> pb.ListSegmentContactsResponse:
        """The contacts that fit the segment now, newest first, or NOT_FOUND."""
        size = page_size(request.page_size)
        found = await segments.page_contacts_of(
            session,
            parse_id(request.segment_id),
            before=decode_cursor(request.page_token),
            size=size + 1,
        )
        return pb.ListSegmentContactsResponse(
            contacts=map(as_message, found[:size]), next_page_token=next_cursor(found, size)
        )


def _as_message(segment: segments.Segment) -> pb.Segment:
    message = pb.Segment(
        id=str(segment.id),
        name=segment.name,
        description=segment.description,
        rule=rule_message(segment.rule),
    )
    message.created_at.FromDatetime(segment.created_at)
    message.updated_at.FromDatetime(segment.updated_at)
    return message
