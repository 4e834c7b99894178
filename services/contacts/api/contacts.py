"""ContactService: decode, call the domain, encode."""

from google.protobuf.empty_pb2 import Empty

from chassis.context import RequestContext
from chassis.database import TenantSession
from chassis.email_address import EmailAddress
from chassis.identifiers import parse_id
from chassis.pagination import decode_cursor, next_cursor, page_size
from flownurture.contacts.v1 import contacts_pb2 as pb
from services.contacts import contacts
from services.contacts.api.fields import ids_of, name_of
from services.contacts.contact_messages import STATUSES, as_message

_STATUS_OF = {number: status for status, number in STATUSES.items()}


class ContactApi:
    """The people an organization writes to."""

    service = pb.DESCRIPTOR.services_by_name["ContactService"]

    async def create_contact(
        self, request: pb.CreateContactRequest, context: RequestContext, session: TenantSession
    ) -> pb.Contact:
        """Create a contact. CONFLICT when there is one with that address, NOT_FOUND for a list that is not there."""
        contact = await contacts.create_contact(
            session,
            EmailAddress.parse(request.email),
            name_of("first_name", request.first_name),
            name_of("last_name", request.last_name),
            ids_of(request.list_ids),
        )
        return as_message(contact)

    async def get_contact(
        self, request: pb.GetContactRequest, context: RequestContext, session: TenantSession
    ) -> pb.Contact:
        """The contact, or NOT_FOUND."""
        return as_message(await contacts.get_contact(session, parse_id(request.contact_id)))

    async def list_contacts(
        self, request: pb.ListContactsRequest, context: RequestContext, session: TenantSession
    ) -> pb.ListContactsResponse:
        """Contacts, newest first, of an address or a status if one is asked for."""
        size = page_size(request.page_size)
        found = await contacts.page_contacts(
            session,
            before=decode_cursor(request.page_token),
            size=size + 1,
            email=EmailAddress.parse(request.email) if request.email else None,
            status=_STATUS_OF.get(request.status),
        )
        return pb.ListContactsResponse(
            contacts=map(as_message, found[:size]),
            next_page_token=next_cursor(found, size),
        )

    async def update_contact(
        self, request: pb.UpdateContactRequest, context: RequestContext, session: TenantSession
    ) -> pb.Contact:
        """Change what is present. NOT_FOUND; CONFLICT when another contact has that address."""
        contact = await contacts.update_contact(
            session,
            parse_id(request.contact_id),
            email=EmailAddress.parse(request.email) if request.HasField("email") else None,
            first_name=name_of("first_name", request.first_name) if request.HasField("first_name") else None,
            last_name=name_of("last_name", request.last_name) if request.HasField("last_name") else None,
        )
        return as_message(contact)

    async def delete_contact(
        self, request: pb.DeleteContactRequest, context: RequestContext, session: TenantSession
    ) -> Empty:
        """Delete the contact and its memberships, or NOT_FOUND."""
        await contacts.delete_contact(session, parse_id(request.contact_id))
        return Empty()
