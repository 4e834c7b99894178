"""ContactService: decode, call the domain, encode."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from uuid import UUID

from google.protobuf.empty_pb2 import Empty
from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct

from chassis.context import RequestContext
from chassis.database import TenantSession
from chassis.email_address import EmailAddress
from chassis.errors import FieldViolation, InvalidRequest
from chassis.identifiers import parse_id
from chassis.pagination import decode_cursor, next_cursor, page_size
from flownurture.contacts.v1 import contacts_pb2 as pb
from services.contacts import contacts, events
from services.contacts.api.fields import ids_of, name_of, names_of, time_zone_of
from services.contacts.contact_memberships import Membership, page_memberships
from services.contacts.contact_messages import SOURCES, STATUSES, as_message
from services.contacts.custom_fields import CustomField, parse_values, read_fields
from services.contacts.events import BY_API, CONSENTS, ContactEvent, EventType, Source
from services.contacts.search import Sort, Wanted, page_contacts
from services.contacts.tags import tags_named
from services.contacts.upserts import Upsert, upsert

_STATUS_OF = {number: status for status, number in STATUSES.items()}
_SORTS = {pb.ContactSort.Value(f"CONTACT_SORT_{sort.name}"): sort for sort in Sort}
_EVENT_TYPES = {
    kind.value: pb.ContactEventType.Value(f"CONTACT_EVENT_TYPE_{kind.name}") for kind in EventType
}

Fields = Mapping[str, CustomField]


class ContactApi:
    """The people an organization writes to."""

    service = pb.DESCRIPTOR.services_by_name["ContactService"]

    async def create_contact(
        self, request: pb.CreateContactRequest, context: RequestContext, session: TenantSession
    ) -> pb.Contact:
        """Create a contact. CONFLICT when there is one with that address, NOT_FOUND for a list that is not there."""
        person = Upsert(
            EmailAddress.parse(request.email),
            name_of("first_name", request.first_name),
            name_of("last_name", request.last_name),
            time_zone_of(request.time_zone),
            await _values(session, request.custom_fields),
            frozenset(ids_of(request.list_ids)),
            frozenset((await tags_named(session, names_of("tags", request.tags))).values()),
        )
        return as_message(await contacts.create_contact(session, person))

    async def upsert_contact(
        self, request: pb.UpsertContactRequest, context: RequestContext, session: TenantSession
    ) -> pb.UpsertContactResponse:
        """Create the contact of an address or change it. NOT_FOUND for a list that is not there."""
        (person,) = await _people(session, [request], [""])
        (result,) = await upsert(session, [person], BY_API)
        contact = await contacts.get_contact(session, result.contact_id)
        return pb.UpsertContactResponse(contact=as_message(contact), created=result.created)

    async def batch_upsert_contacts(
        self, request: pb.BatchUpsertContactsRequest, context: RequestContext, session: TenantSession
    ) -> pb.BatchUpsertContactsResponse:
        """Upsert all of the contacts, or none and what is wrong with which."""
        places = [f"contacts[{index}]." for index in range(len(request.contacts))]
        people = await _people(session, request.contacts, places)
        _refuse_repeated(people)
        results = await upsert(session, people, BY_API)
        return pb.BatchUpsertContactsResponse(
            results=[
                pb.UpsertResult(contact_id=str(result.contact_id), created=result.created)
                for result in results
            ]
        )

    async def get_contact(
        self, request: pb.GetContactRequest, context: RequestContext, session: TenantSession
    ) -> pb.Contact:
        """The contact, or NOT_FOUND."""
        return as_message(await contacts.get_contact(session, parse_id(request.contact_id)))

    async def list_contacts(
        self, request: pb.ListContactsRequest, context: RequestContext, session: TenantSession
    ) -> pb.ListContactsResponse:
        """Contacts that fit what is asked for, in the order that is asked for."""
        wanted = Wanted(
            email=EmailAddress.parse(request.email) if request.email else None,
            status=_STATUS_OF.get(request.status),
            search=request.search.strip(),
            list_id=parse_id(request.list_id) if request.list_id else None,
            tag_id=parse_id(request.tag_id) if request.tag_id else None,
        )
        found, next_token = await page_contacts(
            session,
            wanted,
            _SORTS.get(request.sort, Sort.NEWEST),
            token=request.page_token,
            size=page_size(request.page_size),
        )
        return pb.ListContactsResponse(contacts=map(as_message, found), next_page_token=next_token)

    async def update_contact(
        self, request: pb.UpdateContactRequest, context: RequestContext, session: TenantSession
    ) -> pb.Contact:
        """Change what is present. NOT_FOUND; CONFLICT when another contact has that address."""
        changes = contacts.Changes(
            email=EmailAddress.parse(request.email) if request.HasField("email") else None,
            first_name=name_of("first_name", request.first_name) if request.HasField("first_name") else None,
            last_name=name_of("last_name", request.last_name) if request.HasField("last_name") else None,
            time_zone=time_zone_of(request.time_zone) if request.HasField("time_zone") else None,
            values=await _values(session, request.custom_fields),
            add_tags=names_of("add_tags", request.add_tags),
            remove_tags=names_of("remove_tags", request.remove_tags),
        )
        return as_message(await contacts.update_contact(session, parse_id(request.contact_id), changes))

    async def delete_contact(
        self, request: pb.DeleteContactRequest, context: RequestContext, session: TenantSession
    ) -> Empty:
        """Erase the contact, or NOT_FOUND."""
        await contacts.delete_contact(session, parse_id(request.contact_id))
        return Empty()

    async def list_contact_memberships(
        self, request: pb.ListContactMembershipsRequest, context: RequestContext, session: TenantSession
    ) -> pb.ListContactMembershipsResponse:
        """The contact's lists and tags, or NOT_FOUND."""
        size, contact_id = page_size(request.page_size), parse_id(request.contact_id)
        before = decode_cursor(request.page_token)
        await contacts.require_contact(session, contact_id)
        found = await page_memberships(session, contact_id, before=before, size=size + 1)
        return pb.ListContactMembershipsResponse(
            memberships=map(_membership, found[:size]), next_page_token=next_cursor(found, size)
        )

    async def list_contact_events(
        self, request: pb.ListContactEventsRequest, context: RequestContext, session: TenantSession
    ) -> pb.ListContactEventsResponse:
        """What happened to the contact, newest first, or NOT_FOUND."""
        size, contact_id = page_size(request.page_size), parse_id(request.contact_id)
        before = decode_cursor(request.page_token)
        await contacts.require_contact(session, contact_id)
        found = await events.page_events(session, contact_id, before=before, size=size + 1)
        return pb.ListContactEventsResponse(
            events=map(event_message, found[:size]), next_page_token=next_cursor(found, size)
        )

    async def list_contact_consents(
        self, request: pb.ListContactConsentsRequest, context: RequestContext, session: TenantSession
    ) -> pb.ListContactConsentsResponse:
        """The contact's consent ledger, newest first, or NOT_FOUND."""
        size, contact_id = page_size(request.page_size), parse_id(request.contact_id)
        before = decode_cursor(request.page_token)
        await contacts.require_contact(session, contact_id)
        found = await events.page_events(session, contact_id, before=before, size=size + 1, types=CONSENTS)
        return pb.ListContactConsentsResponse(
            consents=map(event_message, found[:size]), next_page_token=next_cursor(found, size)
        )


async def _values(session: TenantSession, given: Struct) -> dict[str, object | None]:
    return parse_values(await read_fields(session), MessageToDict(given)) if given.fields else {}


async def _people(
    session: TenantSession, requests: Sequence[pb.UpsertContactRequest], places: Sequence[str]
) -> list[Upsert]:
    """The requests as the domain takes them; `places` are the paths before their fields. Raises InvalidRequest with all that is wrong."""
    fields = await read_fields(session) if any(request.custom_fields.fields for request in requests) else {}
    found: list[FieldViolation] = []
    people: list[Upsert] = []
    for request, place in zip(requests, places, strict=True):
        try:
            people.append(_person(request, fields))
        except InvalidRequest as refusal:
            found += [replace(each, field=place + each.field) for each in refusal.violations]
    if found:
        raise InvalidRequest(*found)
    return await _with_tags(session, requests, people)


def _person(request: pb.UpsertContactRequest, fields: Fields) -> Upsert:
    names_of("tags", request.tags)
    return Upsert(
        EmailAddress.parse(request.email),
        name_of("first_name", request.first_name) if request.HasField("first_name") else None,
        name_of("last_name", request.last_name) if request.HasField("last_name") else None,
        time_zone_of(request.time_zone) if request.HasField("time_zone") else None,
        parse_values(fields, MessageToDict(request.custom_fields)) if request.custom_fields.fields else {},
        frozenset(ids_of(request.list_ids)),
    )


async def _with_tags(
    session: TenantSession, requests: Sequence[pb.UpsertContactRequest], people: Sequence[Upsert]
) -> list[Upsert]:
    names = [names_of("tags", request.tags) for request in requests]
    ids = await tags_named(session, set(chain.from_iterable(names)))
    return [
        replace(person, tag_ids=frozenset(ids[name] for name in own))
        for person, own in zip(people, names, strict=True)
    ]


def _refuse_repeated(people: Sequence[Upsert]) -> None:
    first: dict[bytes, int] = {}
    found = []
    for index, person in enumerate(people):
        earlier = first.setdefault(person.email.digest, index)
        if earlier != index:
            found.append(FieldViolation(f"contacts[{index}].email", f"is that of contacts[{earlier}]"))
    if found:
        raise InvalidRequest(*found)


def _membership(membership: Membership) -> pb.ContactMembership:
    message = pb.ContactMembership(
        list_id="" if membership.is_tag else str(membership.id),
        tag_id=str(membership.id) if membership.is_tag else "",
        name=membership.name,
        source=SOURCES[Source(membership.source)],
    )
    message.added_at.FromDatetime(membership.added_at)
    return message


def event_message(event: ContactEvent) -> pb.ContactEvent:
    """The contract's event of a contact."""
    message = pb.ContactEvent(
        id=str(event.id),
        type=_EVENT_TYPES[event.type],
        source=SOURCES[Source(event.source)],
        source_id=_text(event.source_id),
        about_id=_text(event.about_id),
        text=event.text,
        client_address=event.client_address or "",
    )
    message.occurred_at.FromDatetime(event.occurred_at)
    return message


def _text(id_: UUID | None) -> str:
    return "" if id_ is None else str(id_)
