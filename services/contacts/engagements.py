"""What contacts do with mail, as the sending service tells it: in their timeline, and as the last time of each kind."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import select, text

from chassis.database import TenantSession
from services.contacts.events import EventType, Happening, Source, record
from services.contacts.rule_sql import ANY_CAMPAIGN
from services.contacts.rules import Engagement
from services.contacts.sets import among
from services.contacts.tables import contacts

_EVENT_TYPES = {
    Engagement.RECEIVED: EventType.EMAIL_SENT,
    Engagement.OPENED: EventType.EMAIL_OPENED,
    Engagement.CLICKED: EventType.EMAIL_CLICKED,
    Engagement.BOUNCED: EventType.EMAIL_BOUNCED,
}

# Events come in any order: the latest time stays. In one order, so that two of them cannot wait for each other in a circle.
_KEEP_LATEST = text("""
    INSERT INTO engagements AS held (kind, campaign_id, contact_id, last_at)
    SELECT kind, campaign_id, contact_id, max(occurred_at)
    FROM unnest(
        CAST(:kinds AS text[]), CAST(:campaign_ids AS uuid[]), CAST(:contact_ids AS uuid[]),
        CAST(:moments AS timestamptz[])
    ) AS given (kind, campaign_id, contact_id, occurred_at)
    GROUP BY kind, campaign_id, contact_id
    ORDER BY kind, campaign_id, contact_id
    ON CONFLICT (organization_id, kind, campaign_id, contact_id)
    DO UPDATE SET last_at = excluded.last_at WHERE held.last_at < excluded.last_at
""")


@dataclass(frozen=True, slots=True)
class Engaged:
    """A contact that did something with a message, or got it."""

    kind: Engagement
    contact_id: UUID
    message_id: UUID
    campaign_id: UUID | None
    occurred_at: datetime
    url: str = ""


async def take_in(session: TenantSession, engaged: Sequence[Engaged]) -> None:
    """Note what contacts did; of those who are erased nothing is noted."""
    present = await _held(session, {each.contact_id for each in engaged})
    engaged = [each for each in engaged if each.contact_id in present]
    if not engaged:
        return
    campaigns = [
        (each, campaign_id) for each in engaged for campaign_id in {ANY_CAMPAIGN, each.campaign_id} - {None}
    ]
    await session.execute(
        _KEEP_LATEST,
        {
            "kinds": [each.kind.value for each, _ in campaigns],
            "campaign_ids": [campaign_id for _, campaign_id in campaigns],
            "contact_ids": [each.contact_id for each, _ in campaigns],
            "moments": [each.occurred_at for each, _ in campaigns],
        },
    )
    await record(
        session,
        [
            Happening(
                each.contact_id,
                _EVENT_TYPES[each.kind],
                Source.MAIL,
                source_id=each.message_id,
                about_id=each.campaign_id,
                text=each.url,
                occurred_at=each.occurred_at,
            )
            for each in engaged
        ],
    )


async def _held(session: TenantSession, contact_ids: set[UUID]) -> set[UUID]:
    """Those of the contacts that exist, kept from being erased until the transaction ends."""
    found = await session.execute(
        select(contacts.c.id)
        .where(among(contacts.c.id, contact_ids))
        .order_by(contacts.c.id)
        .with_for_update(key_share=True, read=True)
    )
    return set(found.scalars())
