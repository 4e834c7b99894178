"""TagService: decode, call the domain, encode."""

from google.protobuf.empty_pb2 import Empty

from chassis.context import RequestContext
from chassis.database import TenantSession
from chassis.identifiers import parse_id
from chassis.pagination import decode_cursor, next_cursor, page_size
from flownurture.contacts.v1 import tags_pb2 as pb
from services.contacts import tags
from services.contacts.api.fields import name_of


class TagApi:
    """Words that contacts are marked with."""

    service = pb.DESCRIPTOR.services_by_name["TagService"]

    async def create_tag(
        self, request: pb.CreateTagRequest, context: RequestContext, session: TenantSession
    ) -> pb.Tag:
        """Create a tag. CONFLICT when there is one of that name."""
        return _as_message(await tags.create_tag(session, name_of("name", request.name, required=True)))

    async def get_tag(
        self, request: pb.GetTagRequest, context: RequestContext, session: TenantSession
    ) -> pb.Tag:
        """The tag, or NOT_FOUND."""
        return _as_message(await tags.get_tag(session, parse_id(request.tag_id)))

    async def list_tags(
        self, request: pb.ListTagsRequest, context: RequestContext, session: TenantSession
    ) -> pb.ListTagsResponse:
        """Tags, newest first."""
        size = page_size(request.page_size)
        found = await tags.page_tags(session, before=decode_cursor(request.page_token), size=size + 1)
        return pb.ListTagsResponse(
            tags=map(_as_message, found[:size]), next_page_token=next_cursor(found, size)
        )

    async def update_tag(
        self, request: pb.UpdateTagRequest, context: RequestContext, session: TenantSession
    ) -> pb.Tag:
        """Rename the tag. NOT_FOUND; CONFLICT when another one has the name."""
        name = name_of("name", request.name, required=True)
        return _as_message(await tags.rename_tag(session, parse_id(request.tag_id), name))

    async def delete_tag(
        self, request: pb.DeleteTagRequest, context: RequestContext, session: TenantSession
    ) -> Empty:
        """Delete the tag, or NOT_FOUND; its contacts stay."""
        await tags.delete_tag(session, parse_id(request.tag_id))
        return Empty()


def _as_message(tag: tags.Tag) -> pb.Tag:
    message = pb.Tag(id=str(tag.id), name=tag.name, contact_count=tag.contact_count)
    message.created_at.FromDatetime(tag.created_at)
    return message
