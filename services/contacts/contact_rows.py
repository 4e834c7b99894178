"""How a contact is read, wherever one is shown or told of."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Text, Uuid, case, cast, column, func, literal, select
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from chassis.database import TenantSession
from services.contacts.custom_fields import CustomField
from services.contacts.sets import among, rows_of
from services.contacts.tables import contacts, custom_fields, memberships, taggings, tags


@dataclass(frozen=True, slots=True)
class Contact:
    """Somebody the organization writes to, with the lists they are in, their tags' names, and custom fields by key."""

    id: UUID
    email: str
    first_name: str
    last_name: str
    status: str
    time_zone: str
    created_at: datetime
    updated_at: datetime
    list_ids: Sequence[UUID]
    tags: Sequence[str]
    custom_fields: Mapping[str, Any]


_LIST_IDS = func.array(
    select(memberships.c.list_id)
    .where(
        memberships.c.organization_id == contacts.c.organization_id,
        memberships.c.contact_id == contacts.c.id,
    )
    .order_by(memberships.c.list_id)
    .correlate(contacts)
    .scalar_subquery(),
    type_=ARRAY(Uuid),
)

_TAGS = func.array(
    select(tags.c.name)
    .join(
        taggings,
        (taggings.c.organization_id == tags.c.organization_id) & (taggings.c.tag_id == tags.c.id),
    )
    .where(
        taggings.c.organization_id == contacts.c.organization_id,
        taggings.c.contact_id == contacts.c.id,
    )
    .order_by(tags.c.folded_name)
    .correlate(contacts)
    .scalar_subquery(),
    type_=ARRAY(Text),
)

_value = (
    func.jsonb_each(contacts.c.custom_fields)
    .table_valued(column("number", Text), column("value", JSONB), name="held")
    .render_derived()
)
# Most contacts of most organizations have none; what a deleted field left behind is left out.
_CUSTOM_FIELDS = case(
    (contacts.c.custom_fields == literal({}, JSONB), literal({}, JSONB)),
    else_=func.coalesce(
        select(func.jsonb_object_agg(custom_fields.c.key, _value.c.value))
        .select_from(_value)
        .join(custom_fields, custom_fields.c.number == cast(_value.c.number, custom_fields.c.number.type))
        .where(
            custom_fields.c.organization_id == contacts.c.organization_id,
            custom_fields.c.deleted_at.is_(None),
        )
        .correlate(contacts)
        .scalar_subquery(),
        literal({}, JSONB),
    ),
)

# Rows of this statement are the arguments of a Contact; callers add their conditions.
SELECT_CONTACTS = select(
    contacts.c.id,
    contacts.c.email,
    contacts.c.first_name,
    contacts.c.last_name,
    contacts.c.status,
    contacts.c.time_zone,
    contacts.c.created_at,
    contacts.c.updated_at,
    _LIST_IDS.label("list_ids"),
    _TAGS.label("tags"),
    _CUSTOM_FIELDS.label("custom_fields"),
)


def values_of(declared: Mapping[str, CustomField], keys: Iterable[str]) -> ColumnElement[str]:
    """Of a contact: a JSON object, as text, of the custom fields among these that it has a value for, by key."""
    known = [declared[key] for key in keys if key in declared]
    wanted = rows_of(
        "wanted",
        key=(custom_fields.c.key, [field.key for field in known]),
        number=(custom_fields.c.number, [field.number for field in known]),
    )
    number = cast(wanted.c.number, Text)
    values = (
        select(
            func.coalesce(
                func.jsonb_object_agg(wanted.c.key, contacts.c.custom_fields[number]), literal({}, JSONB)
            )
        )
        .select_from(wanted)
        .where(contacts.c.custom_fields.has_key(number))
        .correlate(contacts)
        .scalar_subquery()
    )
    return cast(values, Text).label("custom_fields")


async def read_contacts(session: TenantSession, ids: Collection[UUID]) -> list[Contact]:
    """The contacts with these ids, by ascending id; those that do not exist are left out."""
    rows = await session.execute(SELECT_CONTACTS.where(among(contacts.c.id, ids)).order_by(contacts.c.id))
    return [Contact(**row) for row in rows.mappings()]
