"""ListService: decode, call the domain, encode."""

from google.protobuf.empty_pb2 import Empty

from chassis.context import RequestContext
from chassis.database import TenantSession
from chassis.identifiers import parse_id
from chassis.pagination import decode_cursor, next_cursor, page_size
from flownurture.contacts.v1 import lists_pb2 as pb
from services.contacts import lists
from services.contacts.api.fields import ids_of, name_of
from services.contacts.contact_messages import as_message


class ListApi:
    """Named sets of contacts."""

    service = pb.DESCRIPTOR.services_by_name["ListService"]

    async def create_list(
        self, request: pb.CreateListRequest, context: RequestContext, session: TenantSession
    ) -> pb.List:
        """Create an empty list."""
        name = name_of("name", request.name, required=True)
        created = await lists.create_list(session, name, request.description, is_public=request.is_public)
        return _as_message(created)

    async def get_list(
        self, request: pb.GetListRequest, context: RequestContext, session: TenantSession
    ) -> pb.List:
        """The list, or NOT_FOUND."""
        return _as_message(await lists.get_list(session, parse_id(request.list_id)))

    async def list_lists(
        self, request: pb.ListListsRequest, context: RequestContext, session: TenantSession
    ) -> pb.ListListsResponse:
        """Lists, newest first, with their counts."""
        size = page_size(request.page_size)
        found = await lists.page_lists(session, before=decode_cursor(request.page_token), size=size + 1)
        return pb.ListListsResponse(
            lists=map(_as_message, found[:size]),
            next_page_token=next_cursor(found, size),
        )

    async def update_list(
        self, request: pb.UpdateListRequest, context: RequestContext, session: TenantSession
    ) -> pb.List:
        """Change what is present, or NOT_FOUND."""
        changed = await lists.update_list(
            session,
            parse_id(request.list_id),
            name=name_of("name", request.name, required=True) if request.HasField("name") else None,
            description=request.description if request.HasField("description") else None,
            is_public=request.is_public if request.HasField("is_public") else None,
        )
        return _as_message(changed)

    async def delete_list(
        self, request: pb.DeleteListRequest, context: RequestContext, session: TenantSession
    ) -> Empty:
        """Delete the list, or NOT_FOUND; its contacts stay."""
        await lists.delete_list(session, parse_id(request.list_id))
        return Empty()

    async def add_list_contacts(
        self, request: pb.AddListContactsRequest, context: RequestContext, session: TenantSession
    ) -> pb.AddListContactsResponse:
        """Add all of the contacts, or none and NOT_FOUND that names those that are not there."""
        added = await lists.add_contacts(session, parse_id(request.list_id), ids_of(request.contact_ids))
        return pb.AddListContactsResponse(added=added)

    async def remove_list_contact(
        self, request: pb.RemoveListContactRequest, context: RequestContext, session: TenantSession
    ) -> Empty:
        """Take the contact out of the list; NOT_FOUND when it is not in it."""
        await lists.remove_contact(session, parse_id(request.list_id), parse_id(request.contact_id))
        return Empty()

    async def list_list_contacts(
        self, request: pb.ListListContactsRequest, context: RequestContext, session: TenantSession
    ) -> pb.ListListContactsResponse:
        """The contacts in the list, newest first, or NOT_FOUND."""
        size = page_size(request.page_size)
        found = await lists.page_contacts_of(
            session,
            parse_id(request.list_id),
            before=decode_cursor(request.page_token),
            size=size + 1,
        )
        return pb.ListListContactsResponse(
            contacts=map(as_message, found[:size]),
            next_page_token=next_cursor(found, size),
        )


def _as_message(contact_list: lists.ContactList) -> pb.List:
    message = pb.List(
        id=str(contact_list.id),
        name=contact_list.name,
        description=contact_list.description,
        is_public=contact_list.is_public,
        contact_count=contact_list.contact_count,
    )
    message.created_at.FromDatetime(contact_list.created_at)
    return message
