"""Changes of contacts that workflows order, known by the ids of the events that did."""

from collections.abc import Collection
from datetime import timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, and_, exists, func, not_, select, true

from chassis.database import TenantSession
from chassis.errors import Unavailable
from chassis.retention import INBOX_KEPT
from services.contacts.sets import rows_of
from services.contacts.tables import inbox

# Who reads the orders.
READER = "contacts"
# The inbox forgets; an order of before counts as carried out. A day less, as clocks differ.
_REMEMBERED = INBOX_KEPT - timedelta(days=1)


def is_outstanding(event_id: ColumnElement[UUID]) -> ColumnElement[bool]:
    """Whether the order has not been carried out yet; false where there is no event id."""
    # Looked up one by one, as in `rule_sql.probing_condition`.
    carried_out = (
        select(true())
        .where(inbox.c.reader == READER, inbox.c.event_id == event_id)
        .offset(0)
        .correlate_except(inbox)
        .exists()
    )
    return and_(
        event_id.is_not(None),
        func.uuid_extract_timestamp(event_id) > func.now() - _REMEMBERED,
        not_(carried_out),
    )


async def require_carried_out(session: TenantSession, event_ids: Collection[UUID]) -> None:
    """Raises Unavailable while one of these orders is outstanding: what comes after it is to come again."""
    order = rows_of("before", event_id=(inbox.c.event_id, event_ids))
    if await session.scalar(select(exists().where(is_outstanding(order.c.event_id)))):
        raise Unavailable("What was ordered before this has not been carried out yet.")
