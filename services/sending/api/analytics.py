"""AnalyticsService: decode, ask the counts, encode."""

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from chassis.context import RequestContext
from chassis.database import TenantSession
from chassis.errors import FieldViolation, InvalidRequest
from chassis.identifiers import parse_id
from chassis.pagination import page_size
from flownurture.sending.v1 import analytics_pb2 as pb
from flownurture.sending.v1.campaigns_pb2 import EngagementCount
from services.sending.analytics import activity
from services.sending.analytics.activity import Place
from services.sending.analytics.figures import Interval, Metric, series
from services.sending.api.moments import moment_of
from services.sending.api.statuses import suppression_reason
from services.sending.statuses import MessageStatus

_LONGEST = {Interval.HOUR: timedelta(days=31), Interval.DAY: timedelta(days=366)}


class AnalyticsApi:
    """Figures and events of an organization."""

    service = pb.DESCRIPTOR.services_by_name["AnalyticsService"]

    async def get_analytics_overview(
        self, request: pb.GetAnalyticsOverviewRequest, context: RequestContext, session: TenantSession
    ) -> pb.AnalyticsOverview:
        """The figures of a time; INVALID when it is too long or ends before it begins."""
        since, until = _time(request, Interval.HOUR, usual=timedelta(days=30), longest=_LONGEST[Interval.DAY])
        figures: Counter[Metric] = Counter()
        for point in (await series(session, Interval.DAY, since, until)).values():
            figures.update(point)
        return _overview(figures, since, until)

    async def get_timeseries(
        self, request: pb.GetTimeseriesRequest, context: RequestContext, session: TenantSession
    ) -> pb.Timeseries:
        """The figures of each interval; INVALID when there are too many, or the time ends before it begins."""
        interval = Interval(_name("interval", pb.TimeseriesInterval, request.interval) or Interval.DAY)
        metrics = [Metric(_name("metrics", pb.Metric, metric)) for metric in request.metrics] or list(Metric)
        since, until = _time(request, interval, usual=timedelta(days=7), longest=_LONGEST[interval])
        found = await series(session, interval, since, until)
        answer = pb.Timeseries(interval=pb.TimeseriesInterval.Value(f"TIMESERIES_INTERVAL_{interval.name}"))
        while since < until:
            figures = found.get(since, {})
            point = answer.points.add(values={metric.value: figures.get(metric, 0) for metric in metrics})
            point.begins_at.FromDatetime(since)
            since += interval.length
        return answer

    async def list_events(
        self, request: pb.ListEventsRequest, context: RequestContext, session: TenantSession
    ) -> pb.ListEventsResponse:
        """Events of a contact or a campaign, newest first; INVALID when neither is named."""
        after, size = Place.parse(request.page_token), page_size(request.page_size)
        contact_id, campaign_id = _optional(request.contact_id), _optional(request.campaign_id)
        if contact_id is not None:
            found = await activity.page_of_contact(
                session, contact_id, campaign_id, after=after, size=size + 1
            )
        elif campaign_id is not None:
            found = await activity.page_of_campaign(session, campaign_id, after=after, size=size + 1)
        else:
            raise InvalidRequest(FieldViolation("contact_id", "must be given, or a campaign_id"))
        return pb.ListEventsResponse(
            events=map(_event, found[:size]),
            next_page_token=found[size - 1].place.token if len(found) > size else "",
        )


def _time(
    request: pb.GetAnalyticsOverviewRequest | pb.GetTimeseriesRequest,
    interval: Interval,
    *,
    usual: timedelta,
    longest: timedelta,
) -> tuple[datetime, datetime]:
    """From the beginning of an interval to a moment. Raises InvalidRequest."""
    until = moment_of(request, "to") or datetime.now(UTC)
    since = interval.beginning(moment_of(request, "from") or until - usual)
    if since >= until:
        raise InvalidRequest(FieldViolation("from", "must be before to"))
    if until - since > longest + interval.length:
        raise InvalidRequest(FieldViolation("from", f"must be at most {longest.days} days before to"))
    return since, until


def _name(field: str, enum: Any, number: int) -> str:
    """What the domain calls a value; empty for none. Raises InvalidRequest for an unknown number."""
    value = enum.DESCRIPTOR.values_by_number.get(number)
    if value is None:
        raise InvalidRequest(FieldViolation(field, "is not known"))
    prefix = enum.DESCRIPTOR.values_by_number[0].name.removesuffix("UNSPECIFIED")
    return str(value.name).removeprefix(prefix).lower() if number else ""


def _overview(figures: Mapping[Metric, int], since: datetime, until: datetime) -> pb.AnalyticsOverview:
    overview = pb.AnalyticsOverview(
        sent=figures[Metric.SENT],
        bounced=figures[Metric.BOUNCED],
        failed=figures[Metric.FAILED],
        indeterminate=figures[Metric.INDETERMINATE],
        vetoed=figures[Metric.VETOED],
        opens=EngagementCount(
            unique=figures[Metric.UNIQUE_OPENS],
            total=figures[Metric.OPENS],
            by_bots=figures[Metric.BOT_OPENS],
        ),
        clicks=EngagementCount(
            unique=figures[Metric.UNIQUE_CLICKS],
            total=figures[Metric.CLICKS],
            by_bots=figures[Metric.BOT_CLICKS],
        ),
        unsubscribes=figures[Metric.UNSUBSCRIBES],
        complaints=figures[Metric.COMPLAINTS],
    )
    getattr(overview, "from").FromDatetime(since)
    overview.to.FromDatetime(until)
    return overview


def _optional(id_: str) -> UUID | None:
    return parse_id(id_) if id_ else None


def _event(event: activity.Event) -> pb.Event:
    message = pb.Event(
        id=str(event.place.id),
        type=_event_type(event.kind),
        message_id=str(event.message_id),
        campaign_id=str(event.campaign_id or ""),
        contact_id=str(event.contact_id or ""),
        url=event.url,
        bot=bool(event.bot_rule),
        bot_rule=event.bot_rule,
        smtp_reply=event.smtp_reply,
    )
    if event.veto_reason:
        message.veto_reason = suppression_reason(event.veto_reason)
    message.occurred_at.FromDatetime(event.place.occurred_at)
    return message


def _event_type(kind: str) -> "pb.EventType.ValueType":
    # A report that it arrived is one on the message, which was sent all the same.
    named = MessageStatus.SENT.value if kind == MessageStatus.DELIVERED else kind
    return pb.EventType.Value(f"EVENT_TYPE_{named.upper()}")
