"""Whom a campaign is for: the contacts in any of its lists, each once.

Whatever their status: who must not get it is vetoed by the suppression process, where everybody can see it.
"""

from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import lateral, select, true
from sqlalchemy.dialects.postgresql import distinct_on

from chassis.database import TenantSession
from services.contacts.lists import require_lists
from services.contacts.sets import rows_of
from services.contacts.tables import contacts, lists, memberships


@dataclass(frozen=True, slots=True)
class Recipient:
    """What sending needs to know of a contact."""

    contact_id: UUID
    email: str
    first_name: str
    last_name: str


async def page_recipients(
    session: TenantSession, list_ids: Collection[UUID], *, after: UUID | None, size: int
) -> list[Recipient]:
    """Up to `size` recipients by ascending id, behind `after`. Raises NotFound that names the missing lists."""
    await require_lists(session, list_ids)
    chosen = rows_of("chosen", list_id=(lists.c.id, set(list_ids)))
    # The page is among the first of each list: so its cost grows with the page and the lists, not with the contacts.
    first_of_list = (
        select(contacts.c.id, contacts.c.email, contacts.c.first_name, contacts.c.last_name)
        .join(
            memberships,
            (memberships.c.organization_id == contacts.c.organization_id)
            & (memberships.c.contact_id == contacts.c.id),
        )
        .where(memberships.c.list_id == chosen.c.list_id)
        .order_by(memberships.c.contact_id)
        .limit(size)
        .correlate(chosen)
    )
    if after is not None:
        first_of_list = first_of_list.where(memberships.c.contact_id > after)
    member = lateral(first_of_list, "member")
    page = (
        select(member.c.id.label("contact_id"), member.c.email, member.c.first_name, member.c.last_name)
        .select_from(chosen.join(member, true()))
        .ext(distinct_on(member.c.id))
        .order_by(member.c.id)
        .limit(size)
    )
    return [Recipient(**row) for row in (await session.execute(page)).mappings()]
