"""How a contact is read, wherever one is shown or told of."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Uuid, func, select
from sqlalchemy.dialects.postgresql import ARRAY

from chassis.database import TenantSession
from services.contacts.sets import among
from services.contacts.tables import contacts, memberships


@dataclass(frozen=True, slots=True)
class Contact:
    """Somebody the organization writes to, with the lists they are in."""

    id: UUID
    email: str
    first_name: str
    last_name: str
    status: str
    created_at: datetime
    updated_at: datetime
    list_ids: Sequence[UUID]


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

# Rows of this statement are the arguments of a Contact; callers add their conditions.
SELECT_CONTACTS = select(
    contacts.c.id,
    contacts.c.email,
    contacts.c.first_name,
    contacts.c.last_name,
    contacts.c.status,
    contacts.c.created_at,
    contacts.c.updated_at,
    _LIST_IDS.label("list_ids"),
)


async def read_contacts(session: TenantSession, ids: Collection[UUID]) -> list[Contact]:
    """The contacts with these ids, by ascending id; those that do not exist are left out."""
    rows = await session.execute(SELECT_CONTACTS.where(among(contacts.c.id, ids)).order_by(contacts.c.id))
    return [Contact(**row) for row in rows.mappings()]
