"""The ledger of confirmed re-subscriptions: without an entry on it the database lets nobody take an opt-out off the list.

It is written by a role of its own, which can do nothing else, and committed before an opt-out is lifted. Whoever works with the list
reads it.
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy import text

from chassis.database import RoleDatabase
from services.sending.preference_links import Return

# Clocks differ, and a confirmation counts for what was said before it is heard of.
_BY_EVENT = text("""
    INSERT INTO sending.resubscriptions (organization_id, email_digest, confirmed_at, event_id)
    VALUES (:organization_id, :digest, least(:confirmed_at, now()), :event_id)
    ON CONFLICT DO NOTHING
""")
_BY_LINK = text("""
    INSERT INTO sending.resubscriptions (organization_id, email_digest, confirmed_at, link_good_until)
    VALUES (:organization_id, :digest, now(), :good_until)
""")


class Resubscriptions:
    """What is added stays: there is no way to change or remove an entry."""

    def __init__(self, database: RoleDatabase) -> None:
        self._database = database

    async def add_by_event(
        self, organization_id: UUID, digest: bytes, confirmed_at: datetime, event_id: UUID
    ) -> None:
        """Record what the contacts process tells of a form's confirmation, once however often it tells. Raises Unavailable."""
        entry = {
            "organization_id": organization_id,
            "digest": digest,
            "confirmed_at": confirmed_at,
            "event_id": event_id,
        }
        async with self._database.transaction() as connection:
            await connection.execute(_BY_EVENT, entry)

    async def add_by_link(self, link: Return) -> None:
        """Record that a mailed link whose time is not over was confirmed just now. Raises Unavailable."""
        entry = {
            "organization_id": link.context.organization,
            "digest": link.digest,
            "good_until": link.until,
        }
        async with self._database.transaction() as connection:
            await connection.execute(_BY_LINK, entry)
