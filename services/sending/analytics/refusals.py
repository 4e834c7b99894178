"""Who opted out or complained, and because of which mail."""

from collections.abc import Collection
from enum import StrEnum
from uuid import UUID

from sqlalchemy import text

from chassis.database import TenantSession


class Refusal(StrEnum):
    """How somebody says that they want no more mail, as the events of a campaign call it."""

    UNSUBSCRIBED = "unsubscribed"
    COMPLAINED = "complained"


_NOTE = text("""
    WITH refused AS (
        SELECT id, campaign_id, workflow_mail_id, coalesce(campaign_id, workflow_mail_id) AS mailing_id, contact_id
        FROM messages WHERE id = ANY(CAST(:message_ids AS uuid[]))
    ), written AS (
        INSERT INTO engagement_events (occurred_at, kind, campaign_id, workflow_mail_id, message_id, contact_id)
        SELECT now(), :kind, campaign_id, workflow_mail_id, id, contact_id FROM refused
    )
    INSERT INTO engagement_counts AS held (campaign_id, kind, link_number, hour, total, messages, by_bots)
    SELECT mailing_id, :kind, 0, date_trunc('hour', now(), 'UTC'), count(*), count(*), 0
    FROM refused WHERE mailing_id IS NOT NULL GROUP BY mailing_id ORDER BY mailing_id
    ON CONFLICT (organization_id, campaign_id, kind, link_number, hour)
    DO UPDATE SET total = held.total + excluded.total, messages = held.messages + excluded.messages
""")


async def note_refusals(session: TenantSession, refusal: Refusal, message_ids: Collection[UUID]) -> None:
    """Note that the recipients of these messages want no more."""
    if message_ids:
        await session.execute(_NOTE, {"kind": refusal.value, "message_ids": list(message_ids)})
