"""From hits to what they count as: persons and programs apart, each person's first with each message, and the counts by hour.

Hits are judged some seconds after they came, together with what came about the same time: whoever follows several links of a mail
at once, or follows one as soon as the mail was handed over, is a program. In one transaction they become events and counts, and
what persons did is told to others.
"""

from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from google.protobuf.message import Message
from sqlalchemy import Row, text

from chassis.context import RequestContext
from chassis.database import Database, RoleDatabase, TenantSession
from chassis.scheduler import Scheduler
from flownurture.sending.v1.events_pb2 import EmailsClicked, EmailsOpened, Engagement
from services.sending.tracking.agents import Kind

# A person has to find a mail before they can follow its links.
SOON_AFTER_HANDOVER = timedelta(seconds=5)
# And has read no more than one of them by then.
AT_ONCE = timedelta(seconds=2)
_PATIENCE = timedelta(seconds=3)
_INTERVAL = timedelta(seconds=1)
_MOST_IN_A_SET = 2_000
_MOST_IN_AN_EVENT = 500

# For the scheduler's role.
_ORGANIZATIONS_WITH_HITS = text("""
    SELECT DISTINCT organization_id, organization_id AS id FROM sending.engagement_hits
    WHERE occurred_at < now() - interval '3 seconds' LIMIT 64
""")
# One tally of an organization at a time: what is taken by another cannot be judged together.
_ALONE = text("""
    SELECT pg_try_advisory_xact_lock(hashtextextended('tally:' || current_setting('app.organization_id'), 0))
""")
_TALLY = text("""
    WITH due AS (
        SELECT * FROM engagement_hits WHERE occurred_at < now() - CAST(:patience AS interval)
        ORDER BY occurred_at LIMIT :most
    ), judged AS (
        SELECT due.*, message.contact_id, message.workflow_mail_id, CASE
            WHEN due.bot_rule <> '' OR due.kind <> 'clicked' THEN due.bot_rule
            WHEN message.settled_at IS NULL OR due.occurred_at < message.settled_at + CAST(:soon AS interval)
                THEN 'soon_after_handover'
            WHEN EXISTS (
                SELECT FROM engagement_hits AS other
                WHERE other.message_id = due.message_id AND other.kind = 'clicked'
                  AND other.link_number <> due.link_number
                  AND other.occurred_at BETWEEN due.occurred_at - CAST(:at_once AS interval)
                                            AND due.occurred_at + CAST(:at_once AS interval)
            ) OR EXISTS (
                SELECT FROM engagement_events AS other
                WHERE other.message_id = due.message_id AND other.kind = 'clicked'
                  AND other.link_number <> due.link_number
                  AND other.occurred_at BETWEEN due.occurred_at - CAST(:at_once AS interval)
                                            AND due.occurred_at + CAST(:at_once AS interval)
            ) THEN 'several_links_at_once'
            ELSE '' END AS verdict
        FROM due LEFT JOIN messages AS message ON message.id = due.message_id
    ), gone AS (
        DELETE FROM engagement_hits USING due WHERE engagement_hits.id = due.id
    ), written AS (
        INSERT INTO engagement_events
            (occurred_at, id, kind, campaign_id, workflow_mail_id, message_id, contact_id, link_number, bot_rule)
        SELECT occurred_at, id, kind, CASE WHEN workflow_mail_id IS NULL THEN campaign_id END, workflow_mail_id,
               message_id, contact_id, link_number, verdict
        FROM judged
    ), each AS (
        SELECT kind, campaign_id, message_id, link.number, occurred_at, verdict
        FROM judged CROSS JOIN LATERAL (SELECT 0 AS number UNION SELECT judged.link_number) AS link
    ), firsts AS (
        INSERT INTO first_engagements (message_id, kind, link_number, campaign_id, occurred_at)
        SELECT message_id, kind, number, campaign_id, min(occurred_at)
        FROM each WHERE verdict = '' GROUP BY message_id, kind, number, campaign_id
        ON CONFLICT (organization_id, message_id, kind, link_number) DO NOTHING
        RETURNING kind, link_number AS number, campaign_id, occurred_at
    ), counted AS (
        INSERT INTO engagement_counts AS held (campaign_id, kind, link_number, hour, total, messages, by_bots)
        SELECT campaign_id, kind, number, date_trunc('hour', occurred_at, 'UTC') AS hour, sum(total), sum(messages),
               sum(by_bots)
        FROM (
            SELECT campaign_id, kind, number, occurred_at, CAST(verdict = '' AS int) AS total, 0 AS messages,
                   CAST(verdict <> '' AS int) AS by_bots
            FROM each
            UNION ALL
            SELECT campaign_id, kind, number, occurred_at, 0, 1, 0 FROM firsts
        ) AS one
        GROUP BY campaign_id, kind, number, hour
        ON CONFLICT (organization_id, campaign_id, kind, link_number, hour) DO UPDATE
        SET total = held.total + excluded.total, messages = held.messages + excluded.messages,
            by_bots = held.by_bots + excluded.by_bots
    )
    SELECT judged.id, judged.kind, judged.message_id, judged.contact_id, judged.occurred_at, judged.verdict, link.url,
           CASE WHEN judged.workflow_mail_id IS NULL THEN judged.campaign_id END AS campaign_id,
           step.workflow_id, step.enrollment_id, step.step_id
    FROM judged
    LEFT JOIN workflow_messages AS step ON step.message_id = judged.message_id
    LEFT JOIN campaign_links AS link ON link.campaign_id = judged.campaign_id AND link.number = judged.link_number
    ORDER BY judged.occurred_at
""")

# Of a message and a kind, whatever the link.
_FIRSTS = text("""
    SELECT message_id, kind, occurred_at FROM first_engagements
    WHERE message_id = ANY(CAST(:message_ids AS uuid[])) AND link_number = 0
""")
# From now on the organization has events that become too old.
_KEEP_AN_EYE_ON = text("INSERT INTO event_retention DEFAULT VALUES ON CONFLICT DO NOTHING")


class Tally:
    """Judges the hits of all organizations, a few seconds after they came."""

    def __init__(self, database: Database, scheduler: RoleDatabase) -> None:
        self._database = database
        self._scheduler = Scheduler(
            scheduler, _ORGANIZATIONS_WITH_HITS, _INTERVAL, self._tally_all, process="sending"
        )

    async def run(self) -> None:
        """Run until cancelled."""
        await self._scheduler.run()

    async def _tally_all(self, context: RequestContext, _: object) -> None:
        judged = _MOST_IN_A_SET
        while judged == _MOST_IN_A_SET:
            async with self._database.tenant_transaction(context) as session:
                judged = await tally(session)


async def tally(session: TenantSession, patience: timedelta = _PATIENCE) -> int:
    """Judge hits that came so long ago; answers how many. None while somebody else does."""
    if not await session.scalar(_ALONE):
        return 0
    judged = await session.execute(
        _TALLY,
        {"patience": patience, "soon": SOON_AFTER_HANDOVER, "at_once": AT_ONCE, "most": _MOST_IN_A_SET},
    )
    rows = judged.all()
    if rows:
        await session.execute(_KEEP_AN_EYE_ON)
    persons = [row for row in rows if not row.verdict]
    firsts = await _firsts(session, persons)
    _tell(session, EmailsOpened, [row for row in persons if row.kind == Kind.OPENED], firsts)
    _tell(session, EmailsClicked, [row for row in persons if row.kind == Kind.CLICKED], firsts)
    return len(rows)


async def _firsts(session: TenantSession, persons: Sequence[Row[Any]]) -> Collection[UUID]:
    """The hits that are the first of their kind with their message."""
    if not persons:
        return ()
    found = await session.execute(_FIRSTS, {"message_ids": list({row.message_id for row in persons})})
    moments = {(row.message_id, row.kind): row.occurred_at for row in found}
    # Of two at the same moment one.
    firsts = {
        (row.message_id, row.kind): row.id
        for row in persons
        if moments[row.message_id, row.kind] == row.occurred_at
    }
    return set(firsts.values())


def _tell(
    session: TenantSession,
    event: type[EmailsOpened] | type[EmailsClicked],
    rows: Sequence[Row[Any]],
    firsts: Collection[UUID],
) -> None:
    for start in range(0, len(rows), _MOST_IN_AN_EVENT):
        engagements = [_engagement(row, row.id in firsts) for row in rows[start : start + _MOST_IN_AN_EVENT]]
        told: Message = event(engagements=engagements)
        session.publish(told)


def _engagement(row: Row[Any], is_first: bool) -> Engagement:
    engagement = Engagement(
        message_id=str(row.message_id),
        campaign_id=str(row.campaign_id or ""),
        contact_id=str(row.contact_id or ""),
        url=row.url or "",
        workflow_id=str(row.workflow_id or ""),
        enrollment_id=str(row.enrollment_id or ""),
        step_id=row.step_id or "",
        is_first=is_first,
    )
    engagement.occurred_at.FromDatetime(row.occurred_at)
    return engagement
