"""An export's contacts as lines of a file: CSV as an import takes it, or JSON Lines with all that is known of each."""

from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from uuid import UUID

import orjson
from sqlalchemy import select

from chassis.context import RequestContext
from chassis.csv_files import csv_lines
from chassis.database import Database, TenantSession
from services.contacts.contact_rows import Contact
from services.contacts.custom_fields import read_fields
from services.contacts.exports import stream_contacts
from services.contacts.sets import among
from services.contacts.tables import consent_addresses, contact_events, lists

_OWN = (
    "email",
    "first_name",
    "last_name",
    "time_zone",
    "status",
    "created_at",
    "updated_at",
    "tags",
    "lists",
)


async def csv_file(database: Database, context: RequestContext, export_id: UUID) -> AsyncIterator[bytes]:
    """The file in pieces: a header, then a line for each contact."""
    keys: list[str] | None = None
    async for session, page in stream_contacts(database, context, export_id):
        if keys is None:
            keys = list(await read_fields(session))
            yield csv_lines([(*_OWN, *keys)])
        names = await _list_names(session, page)
        yield csv_lines(_csv_row(contact, names, keys) for contact in page)
    if keys is None:
        yield csv_lines([_OWN])


async def json_file(database: Database, context: RequestContext, export_id: UUID) -> AsyncIterator[bytes]:
    """The file in pieces: a JSON object a line for each contact."""
    async for session, page in stream_contacts(database, context, export_id):
        names, happened = await _list_names(session, page), await _events(session, page)
        yield b"".join(
            orjson.dumps(_json_object(contact, names, happened[contact.id]), option=orjson.OPT_APPEND_NEWLINE)
            for contact in page
        )


def _csv_row(contact: Contact, names: dict[UUID, str], keys: Sequence[str]) -> list[object]:
    return [
        contact.email,
        contact.first_name,
        contact.last_name,
        contact.time_zone,
        contact.status,
        contact.created_at.isoformat(),
        contact.updated_at.isoformat(),
        ", ".join(contact.tags),
        ", ".join(names.get(list_id, "") for list_id in contact.list_ids),
        *(_csv_value(contact.custom_fields.get(key)) for key in keys),
    ]


def _csv_value(value: object) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else value


def _json_object(
    contact: Contact, names: dict[UUID, str], happened: Sequence[dict[str, object]]
) -> dict[str, object]:
    return {
        "id": contact.id,
        "email": contact.email,
        "first_name": contact.first_name,
        "last_name": contact.last_name,
        "time_zone": contact.time_zone,
        "status": contact.status,
        "custom_fields": contact.custom_fields,
        "tags": contact.tags,
        "lists": [{"id": list_id, "name": names.get(list_id, "")} for list_id in contact.list_ids],
        "created_at": contact.created_at,
        "updated_at": contact.updated_at,
        "events": happened,
    }


async def _list_names(session: TenantSession, page: Sequence[Contact]) -> dict[UUID, str]:
    wanted = {list_id for contact in page for list_id in contact.list_ids}
    found = await session.execute(select(lists.c.id, lists.c.name).where(among(lists.c.id, wanted)))
    return {row.id: row.name for row in found}


async def _events(
    session: TenantSession, page: Sequence[Contact]
) -> defaultdict[UUID, list[dict[str, object]]]:
    """What happened to each of the contacts, consents among it, oldest first."""
    held, addresses = contact_events, consent_addresses
    found = await session.execute(
        select(
            held.c.contact_id,
            held.c.id,
            held.c.type,
            held.c.occurred_at,
            held.c.source,
            held.c.source_id,
            held.c.about_id,
            held.c.text,
            addresses.c.client_address,
        )
        .outerjoin(
            addresses,
            (addresses.c.organization_id == held.c.organization_id)
            & (addresses.c.contact_id == held.c.contact_id)
            & (addresses.c.event_id == held.c.id),
        )
        .where(among(held.c.contact_id, [contact.id for contact in page]))
        .order_by(held.c.contact_id, held.c.id)
    )
    events: defaultdict[UUID, list[dict[str, object]]] = defaultdict(list)
    for row in found.mappings():
        # The names of columns are not quite strings.
        event = {str(name): value for name, value in row.items() if value not in (None, "")}
        events[event.pop("contact_id")].append(event)
    return events
