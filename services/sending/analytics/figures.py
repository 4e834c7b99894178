"""Figures of reports, from counts by hour alone: no report reads events, and few read messages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import Row, func, select, text

from chassis.database import TenantSession
from services.sending.analytics.refusals import Refusal
from services.sending.statuses import MessageStatus
from services.sending.tables import campaign_links, engagement_counts, messages
from services.sending.tracking.agents import Kind

# In the place of a link's number: the message itself, opened or clicked on anywhere.
THE_MESSAGE = 0


class Metric(StrEnum):
    """What is counted for an organization."""

    SENT = "sent"
    BOUNCED = "bounced"
    FAILED = "failed"
    INDETERMINATE = "indeterminate"
    VETOED = "vetoed"
    OPENS = "opens"
    UNIQUE_OPENS = "unique_opens"
    BOT_OPENS = "bot_opens"
    CLICKS = "clicks"
    UNIQUE_CLICKS = "unique_clicks"
    BOT_CLICKS = "bot_clicks"
    UNSUBSCRIBES = "unsubscribes"
    COMPLAINTS = "complaints"


class Interval(StrEnum):
    """How long each point of a series lasts, in UTC."""

    HOUR = "hour"
    DAY = "day"

    @property
    def length(self) -> timedelta:
        """Its length."""
        return timedelta(hours=1) if self is Interval.HOUR else timedelta(days=1)

    def beginning(self, moment: datetime) -> datetime:
        """When the one began that a moment in UTC is in."""
        hour = moment.replace(minute=0, second=0, microsecond=0)
        return hour if self is Interval.HOUR else hour.replace(hour=0)


_OF_STATUSES = {
    MessageStatus.SENT: Metric.SENT,
    MessageStatus.DELIVERED: Metric.SENT,
    MessageStatus.BOUNCED: Metric.BOUNCED,
    MessageStatus.FAILED: Metric.FAILED,
    MessageStatus.INDETERMINATE: Metric.INDETERMINATE,
    MessageStatus.VETOED: Metric.VETOED,
}
# By what was done: how often by persons, with how many messages, how often by programs.
_OF_KINDS: Mapping[str, Sequence[Metric]] = {
    Kind.OPENED: (Metric.OPENS, Metric.UNIQUE_OPENS, Metric.BOT_OPENS),
    Kind.CLICKED: (Metric.CLICKS, Metric.UNIQUE_CLICKS, Metric.BOT_CLICKS),
    Refusal.UNSUBSCRIBED: (Metric.UNSUBSCRIBES,),
    Refusal.COMPLAINED: (Metric.COMPLAINTS,),
}
_IN_INTERVALS = text("""
    SELECT date_trunc(:interval, hour, 'UTC') AS begins_at, status AS counted, greatest(sum(messages), 0) AS total, 0 AS messages,
           0 AS by_bots
    FROM message_counts WHERE hour >= :since AND hour < :until GROUP BY 1, 2
    UNION ALL
    SELECT date_trunc(:interval, hour, 'UTC'), kind, sum(total), sum(messages), sum(by_bots)
    FROM engagement_counts WHERE link_number = 0 AND hour >= :since AND hour < :until GROUP BY 1, 2
""")


@dataclass(frozen=True, slots=True)
class Engaged:
    """How many did something: messages with which a person did, how often persons did, and how often programs did."""

    messages: int = 0
    total: int = 0
    by_bots: int = 0


@dataclass(frozen=True, slots=True)
class LinkFigures:
    """A link of a campaign, and who followed it."""

    url: str
    clicks: Engaged


@dataclass(frozen=True, slots=True)
class CampaignFigures:
    """What recipients of a campaign did, and why some did not get it."""

    opens: Engaged
    clicks: Engaged
    links: Sequence[LinkFigures]
    unsubscribes: int
    complaints: int
    vetoes: Mapping[str, int]


async def figures_of_campaign(session: TenantSession, campaign_id: UUID) -> CampaignFigures:
    """Its figures up to now."""
    engaged = await _engaged(session, campaign_id)
    links = await session.execute(
        select(campaign_links.c.number, campaign_links.c.url)
        .where(campaign_links.c.campaign_id == campaign_id)
        .order_by(campaign_links.c.number)
    )
    vetoes = await session.execute(
        select(messages.c.veto_reason, func.count().label("messages"))
        .where(messages.c.campaign_id == campaign_id, messages.c.status == MessageStatus.VETOED.value)
        .group_by(messages.c.veto_reason)
        .order_by(messages.c.veto_reason)
    )
    return CampaignFigures(
        opens=engaged.get((Kind.OPENED, THE_MESSAGE), Engaged()),
        clicks=engaged.get((Kind.CLICKED, THE_MESSAGE), Engaged()),
        links=[
            LinkFigures(row.url, engaged.get((Kind.CLICKED, row.number), Engaged())) for row in links.all()
        ],
        unsubscribes=engaged.get((Refusal.UNSUBSCRIBED, THE_MESSAGE), Engaged()).messages,
        complaints=engaged.get((Refusal.COMPLAINED, THE_MESSAGE), Engaged()).messages,
        vetoes={row.veto_reason: row.messages for row in vetoes},
    )


async def series(
    session: TenantSession, interval: Interval, since: datetime, until: datetime
) -> Mapping[datetime, Mapping[Metric, int]]:
    """The figures of each interval in which there is one, by its beginning; of the hours that begin within the time given."""
    found = await session.execute(_IN_INTERVALS, {"interval": interval.value, "since": since, "until": until})
    points: dict[datetime, dict[Metric, int]] = {}
    for row in found:
        point = points.setdefault(row.begins_at, {})
        for metric, count in _metrics(row):
            point[metric] = point.get(metric, 0) + count
    return points


def _metrics(row: Row[Any]) -> list[tuple[Metric, int]]:
    if row.counted in _OF_KINDS:
        counts = (int(row.total), int(row.messages), int(row.by_bots))
        return list(zip(_OF_KINDS[row.counted], counts, strict=False))
    return [(_OF_STATUSES[MessageStatus(row.counted)], int(row.total))]


async def _engaged(session: TenantSession, campaign_id: UUID) -> Mapping[tuple[str, int], Engaged]:
    counted = engagement_counts.c
    sums = (func.sum(each).label(each.name) for each in (counted.messages, counted.total, counted.by_bots))
    found = await session.execute(
        select(counted.kind, counted.link_number, *sums)
        .where(counted.campaign_id == campaign_id)
        .group_by(counted.kind, counted.link_number)
    )
    return {
        (row.kind, row.link_number): Engaged(int(row.messages), int(row.total), int(row.by_bots))
        for row in found
    }
