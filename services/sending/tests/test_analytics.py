"""What reports say of a campaign and an organization, what happened with a contact, and for how long that is kept."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from chassis.database import Database, RoleDatabase
from chassis.errors import InvalidRequest
from flownurture.sending.v1 import analytics_pb2 as pb
from flownurture.sending.v1 import campaigns_pb2, messages_pb2
from flownurture.suppression.v1 import suppressions_pb2, unsubscribe_pb2
from services.sending.analytics.retention import EventRetention
from services.sending.consumers import OutcomeReader
from services.sending.delivery.worker import Worker
from services.sending.dispatch import Dispatch
from services.sending.identity_peer import IdentityPeer
from services.sending.tests.reader import PEARS, PLUMS, Letter, letter
from services.sending.tests.relay import MailRelay
from services.sending.tests.tenant import Tenant

NAMES = (
    "sent",
    "bounced",
    "vetoed",
    "unique_opens",
    "opens",
    "bot_opens",
    "unique_clicks",
    "clicks",
    "unsubscribes",
)


@pytest.fixture
async def mail(tenant: Tenant, worker: Worker, relay: MailRelay) -> Letter:
    """A campaign's mail that was opened twice and left by one link, after a program had looked at it; its reader opted out."""
    received = await letter(tenant, worker, relay)
    await received.later()
    await received.open(head_only=True)
    await received.open()
    await received.open()
    await received.click(1)
    await received.judged(4)
    way_out = re.search(r'/u/([\w-]+)"', received.html)
    assert way_out is not None
    await tenant(unsubscribe_pb2.UnsubscribeRequest(token=way_out[1]))
    return received


async def tell(tenant: Tenant, scheduler: RoleDatabase) -> None:
    """Let the sending process hear, twice, all that was published."""
    consumers = OutcomeReader(tenant.database, Dispatch(tenant.database, scheduler)).consumers(None)  # type: ignore[arg-type]
    for row in 2 * await tenant.rows("SELECT envelope FROM outbox ORDER BY id"):
        for consumer in consumers:
            await consumer.handle(row.envelope)


def counted(count: campaigns_pb2.EngagementCount) -> tuple[int, int, int]:
    return count.unique, count.total, count.by_bots


async def figures(tenant: Tenant, **request: Any) -> list[tuple[int, ...]]:
    """The figures that are not all zero, in the order of `NAMES`."""
    answer = await tenant(pb.GetTimeseriesRequest(**request))
    points = [tuple(point.values[name] for name in NAMES) for point in answer.points]
    return [point for point in points if any(point)]


async def test_a_report_tells_what_recipients_did_and_why_some_got_nothing(
    tenant: Tenant, worker: Worker, relay: MailRelay, mail: Letter, scheduler: RoleDatabase
) -> None:
    await tell(tenant, scheduler)
    report = await tenant.report(mail.campaign_id)
    assert (report.sent, report.delivered, report.unsubscribes, report.complaints) == (1, 1, 1, 0)
    assert (counted(report.opens), counted(report.clicks)) == ((1, 2, 1), (1, 1, 0))
    assert [(link.url, counted(link.clicks)) for link in report.links] == [
        (PLUMS, (0, 0, 0)),
        (PEARS, (1, 1, 0)),
    ]
    assert not report.vetoes
    await tenant(
        suppressions_pb2.CreateSuppressionRequest(
            email="never@example.com", reason=messages_pb2.SUPPRESSION_REASON_MANUAL
        )
    )
    again = await tenant.launch("reader@example.com", "never@example.com")
    await tenant.deliver(worker)
    report = await tenant.report(again)
    assert {veto.reason: veto.messages for veto in report.vetoes} == {
        messages_pb2.SUPPRESSION_REASON_UNSUBSCRIBE: 1,
        messages_pb2.SUPPRESSION_REASON_MANUAL: 1,
    }
    assert (report.vetoed, counted(report.opens)) == (2, (0, 0, 0))


async def test_an_organizations_figures_are_its_own_and_count_each_event_once(
    tenant: Tenant, stranger: Tenant, worker: Worker, mail: Letter, scheduler: RoleDatabase
) -> None:
    await tenant.launch("reader@example.com")
    await tenant.deliver(worker)
    await tell(tenant, scheduler)
    overview = await tenant(pb.GetAnalyticsOverviewRequest())
    assert (overview.sent, overview.vetoed, overview.bounced, overview.unsubscribes) == (1, 1, 0, 1)
    assert (counted(overview.opens), counted(overview.clicks)) == ((1, 2, 1), (1, 1, 0))
    assert overview.to.seconds - getattr(overview, "from").seconds >= timedelta(days=30).total_seconds()
    # Perhaps on both sides of a full hour.
    for interval in (pb.TIMESERIES_INTERVAL_UNSPECIFIED, pb.TIMESERIES_INTERVAL_HOUR):
        found = await figures(tenant, interval=interval)
        assert tuple(map(sum, zip(*found, strict=True))) == (1, 0, 1, 1, 2, 1, 1, 1, 1)
    assert await figures(stranger) == []


async def test_a_series_has_a_point_for_every_interval_and_the_metrics_that_are_asked_for(
    tenant: Tenant,
) -> None:
    request = pb.GetTimeseriesRequest(
        interval=pb.TIMESERIES_INTERVAL_HOUR, metrics=[pb.METRIC_SENT, pb.METRIC_BOT_CLICKS]
    )
    getattr(request, "from").FromDatetime(datetime(2026, 3, 28, 22, 30, tzinfo=UTC))
    request.to.FromDatetime(datetime(2026, 3, 29, 1, 0, tzinfo=UTC))
    answer = await tenant(request)
    assert [point.begins_at.ToDatetime().hour for point in answer.points] == [22, 23, 0]
    assert [dict(point.values) for point in answer.points] == [{"sent": 0, "bot_clicks": 0}] * 3


@pytest.mark.parametrize(
    ("interval", "since", "until"),
    [
        (pb.TIMESERIES_INTERVAL_DAY, datetime(2026, 3, 2), datetime(2026, 3, 1)),
        (pb.TIMESERIES_INTERVAL_DAY, datetime(2025, 1, 1), datetime(2026, 3, 1)),
        (pb.TIMESERIES_INTERVAL_HOUR, datetime(2026, 1, 1), datetime(2026, 3, 1)),
        (pb.TIMESERIES_INTERVAL_DAY, datetime(1, 1, 1), datetime(1, 1, 2)),
    ],
)
async def test_a_time_that_makes_no_series_is_refused(
    tenant: Tenant, interval: Any, since: datetime, until: datetime
) -> None:
    request = pb.GetTimeseriesRequest(interval=interval)
    getattr(request, "from").FromDatetime(since)
    request.to.FromDatetime(until)
    with pytest.raises(InvalidRequest):
        await tenant(request)


async def all_events(tenant: Tenant, **request: str) -> list[pb.Event]:
    events: list[pb.Event] = []
    token = ""
    while True:
        page = await tenant(pb.ListEventsRequest(page_size=2, page_token=token, **request))
        events += page.events
        token = page.next_page_token
        if not token:
            return events


async def test_events_of_a_contact_are_told_page_by_page_newest_first(
    tenant: Tenant, stranger: Tenant, mail: Letter, scheduler: RoleDatabase
) -> None:
    await tell(tenant, scheduler)
    events = await all_events(tenant, contact_id=str(mail.contact_id))
    name: Callable[[Any], str] = pb.EventType.Name
    assert [
        (name(event.type).removeprefix("EVENT_TYPE_"), event.bot_rule, event.url) for event in events
    ] == [
        ("UNSUBSCRIBED", "", ""),
        ("CLICKED", "", PEARS),
        ("OPENED", "", ""),
        ("OPENED", "", ""),
        ("OPENED", "head_only", ""),
        ("SENT", "", ""),
    ]
    assert {event.message_id for event in events} == {str(mail.message_id)}
    assert {event.campaign_id for event in events} == {mail.campaign_id}
    # Of a campaign, what its recipients did.
    of_campaign = await all_events(tenant, campaign_id=mail.campaign_id)
    assert of_campaign == events[:-1]
    assert await all_events(tenant, contact_id=str(mail.contact_id), campaign_id=mail.campaign_id) == events
    assert await all_events(tenant, contact_id=str(mail.contact_id), campaign_id=str(uuid4())) == []
    assert await all_events(stranger, contact_id=str(mail.contact_id)) == []


async def test_a_veto_tells_its_reason_among_the_events_of_a_contact(
    tenant: Tenant, worker: Worker, mail: Letter
) -> None:
    await tenant.launch("reader@example.com")
    await tenant.deliver(worker)
    (veto, *_) = await all_events(tenant, contact_id=str(mail.contact_id))
    assert (veto.type, veto.veto_reason) == (
        pb.EVENT_TYPE_VETOED,
        messages_pb2.SUPPRESSION_REASON_UNSUBSCRIBE,
    )


@pytest.mark.parametrize("request_", [{}, {"contact_id": str(uuid4()), "page_token": "no-token"}])
async def test_events_of_nobody_and_pages_of_no_list_are_refused(
    tenant: Tenant, request_: dict[str, Any]
) -> None:
    with pytest.raises(InvalidRequest):
        await tenant(pb.ListEventsRequest(**request_))


async def test_events_are_forgotten_when_they_are_older_than_the_plan_keeps_them(
    tenant: Tenant,
    stranger: Tenant,
    database: Database,
    scheduler: RoleDatabase,
    allowances: IdentityPeer,
) -> None:
    for days in (89, 91, 92, 400):
        for whose in (tenant, stranger):
            await whose.rows(
                "INSERT INTO engagement_events (occurred_at, kind, message_id)"
                " VALUES (now() - make_interval(days => :days), 'opened', uuidv7())",
                days=days,
            )
    retention = EventRetention(database, scheduler, allowances, most_in_a_set=2)
    assert await retention.forget(tenant.context) == 3
    assert len(await tenant.rows("SELECT FROM engagement_events")) == 1
    assert len(await stranger.rows("SELECT FROM engagement_events")) == 4


async def test_who_has_events_is_looked_at_again_the_next_day(tenant: Tenant, mail: Letter) -> None:
    ((later,),) = await tenant.rows(
        "SELECT next_look_at BETWEEN now() + interval '23 hours' AND now() + interval '25 hours' FROM event_retention"
    )
    assert later


async def test_events_stand_in_the_partition_of_their_month(tenant: Tenant) -> None:
    for moment in ("2026-12-01T00:00:00Z", "2026-11-30T23:59:59.999Z", "2020-01-01T00:00:00Z"):
        await tenant.rows(
            "INSERT INTO engagement_events (occurred_at, kind, message_id) VALUES (:moment, 'opened', uuidv7())",
            moment=datetime.fromisoformat(moment),
        )
    rows = await tenant.rows(
        "SELECT tableoid::regclass::text AS name FROM engagement_events ORDER BY occurred_at"
    )
    assert [row.name.rpartition("events_")[2] for row in rows] == ["other", "2026_11", "2026_12"]
