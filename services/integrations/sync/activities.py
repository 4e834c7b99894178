"""What happens to a contact's mail, as far as a CRM is still to show it: a row for each connection that the contact is linked by.

A row goes as soon as the CRM has it, with the contact, or a week after it happened.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import any_, delete, literal, text, update
from sqlalchemy.dialects.postgresql import ARRAY, insert

from chassis.database import TenantSession
from chassis.identifiers import derived_id
from services.integrations.crm.records import Activity
from services.integrations.tables import campaign_names, outgoing_activities

# What no CRM has taken by then is not shown any more.
GIVEN_UP_AFTER = timedelta(days=7)
_MOST_CHARACTERS_OF_A_DETAIL = 2_000


class Kind(StrEnum):
    """What happened."""

    SENT = "sent"
    OPENED = "opened"
    CLICKED = "clicked"
    BOUNCED = "bounced"
    UNSUBSCRIBED = "unsubscribed"


_TITLES = {
    Kind.SENT: "Email sent",
    Kind.OPENED: "Email opened",
    Kind.CLICKED: "Link in an email followed",
    Kind.BOUNCED: "Email bounced",
    Kind.UNSUBSCRIBED: "Opted out of marketing email",
}


@dataclass(frozen=True, slots=True)
class Happened:
    """Something that happened to one contact. `of` is what it happened to: a message, or an event."""

    kind: Kind
    contact_id: UUID
    of: UUID
    at: datetime
    campaign_id: UUID | None = None
    # The address of a link, or what the receiver said.
    detail: str = ""

    @property
    def id(self) -> UUID:
        """The same whenever the same is told, and in the order of time."""
        milliseconds = int(self.at.timestamp() * 1000)
        return derived_id(milliseconds, f"{self.kind} {self.of} {self.contact_id}".encode())


_NOTE = """
    INSERT INTO outgoing_activities (connection_id, id, contact_id, kind, campaign_id, detail, occurred_at)
    SELECT link.connection_id, happened.*
    FROM unnest(%s::uuid[], %s::uuid[], %s::text[], %s::uuid[], %s::text[], %s::timestamptz[])
        AS happened (id, contact_id, kind, campaign_id, detail, occurred_at)
    JOIN links AS link ON link.contact_id = happened.contact_id AND NOT link.is_cut
    JOIN connections AS connection ON connection.id = link.connection_id AND connection.logs_activities
    WHERE happened.occurred_at > now() - %s
    ON CONFLICT DO NOTHING
"""
# Those whose contact is linked still; of what was not named the title is shorter.
_TAKE = text("""
    WITH next AS (
        SELECT activity.id, link.record_id
        FROM outgoing_activities AS activity JOIN links AS link USING (organization_id, connection_id, contact_id)
        WHERE activity.connection_id = :connection AND activity.handed_at IS NULL AND NOT link.is_cut
        ORDER BY activity.id LIMIT :most
    )
    UPDATE outgoing_activities AS activity SET handed_at = now() FROM next
    WHERE activity.connection_id = :connection AND activity.id = next.id
    RETURNING activity.id, activity.kind, activity.detail, activity.occurred_at, next.record_id,
        (SELECT name FROM campaign_names AS campaign WHERE campaign.campaign_id = activity.campaign_id) AS campaign
""")
_IN_DOUBT = text("""
    SELECT activity.id, activity.kind, activity.detail, activity.occurred_at, link.record_id,
        (SELECT name FROM campaign_names AS campaign WHERE campaign.campaign_id = activity.campaign_id) AS campaign
    FROM outgoing_activities AS activity JOIN links AS link USING (organization_id, connection_id, contact_id)
    WHERE activity.connection_id = :connection AND activity.handed_at < now() - CAST(:since AS interval)
      AND NOT link.is_cut
    ORDER BY activity.id LIMIT :most
""")
_DROP_UNLINKED = text("""
    DELETE FROM outgoing_activities AS activity WHERE connection_id = :connection AND NOT EXISTS (
        SELECT FROM links AS link
        WHERE link.connection_id = activity.connection_id AND link.contact_id = activity.contact_id AND NOT link.is_cut
    )
""")


async def note(session: TenantSession, happened: Sequence[Happened]) -> None:
    """Have CRMs show these, where their contacts are linked, and the connection shows activities."""
    if happened:
        await session.driver.execute(
            _NOTE,
            (
                [each.id for each in happened],
                [each.contact_id for each in happened],
                [each.kind.value for each in happened],
                [each.campaign_id for each in happened],
                [each.detail[:_MOST_CHARACTERS_OF_A_DETAIL] for each in happened],
                [each.at for each in happened],
                GIVEN_UP_AFTER,
            ),
        )


async def name_campaign(session: TenantSession, campaign_id: UUID, name: str) -> None:
    """What happens to its mail is shown under this name."""
    statement = insert(campaign_names).values(campaign_id=campaign_id, name=name)
    await session.execute(statement.on_conflict_do_nothing())


async def forget(session: TenantSession, contact_ids: Collection[UUID]) -> None:
    """Contacts were erased: nothing of theirs is shown any more."""
    among = outgoing_activities.c.contact_id == any_(
        literal(list(contact_ids), ARRAY(outgoing_activities.c.contact_id.type))
    )
    await session.execute(delete(outgoing_activities).where(among))


async def forget_all(session: TenantSession, connection_id: UUID) -> None:
    """A connection is to show no activities."""
    await session.execute(
        delete(outgoing_activities).where(outgoing_activities.c.connection_id == connection_id)
    )


async def drop_unlinked(session: TenantSession, connection_id: UUID) -> None:
    """Nobody is told of those whose contact is linked no more."""
    await session.execute(_DROP_UNLINKED, {"connection": connection_id})


async def take(session: TenantSession, connection_id: UUID, most: int) -> list[Activity]:
    """The oldest that wait. Until it is known what became of them they are in doubt."""
    taken = await session.execute(_TAKE, {"connection": connection_id, "most": most})
    return sorted(map(_activity, taken), key=lambda activity: activity.id)


async def in_doubt(
    session: TenantSession, connection_id: UUID, *, since: timedelta, most: int
) -> list[Activity]:
    """Those that were handed over so long ago, and nobody knows what became of them."""
    found = await session.execute(_IN_DOUBT, {"connection": connection_id, "since": since, "most": most})
    return list(map(_activity, found))


async def drop(session: TenantSession, connection_id: UUID, ids: Collection[str]) -> None:
    """The CRM has these, or never will."""
    await session.execute(delete(outgoing_activities).where(*_among(connection_id, ids)))


async def wait_again(session: TenantSession, connection_id: UUID, ids: Collection[str]) -> None:
    """The CRM does not have these."""
    await session.execute(
        update(outgoing_activities).where(*_among(connection_id, ids)).values(handed_at=None)
    )


def _among(connection_id: UUID, ids: Collection[str]) -> tuple[Any, Any]:
    column = outgoing_activities.c.id
    return (
        outgoing_activities.c.connection_id == connection_id,
        column == any_(literal([UUID(hex=each) for each in ids], ARRAY(column.type))),
    )


def _activity(row: Any) -> Activity:
    title = _TITLES[Kind(row.kind)]
    return Activity(
        id=row.id.hex,
        contact_id=row.record_id,
        title=f"{title}: {row.campaign}" if row.campaign else title,
        text=row.detail,
        at=row.occurred_at.astimezone(UTC),
    )
