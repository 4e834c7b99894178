"""What contacts do with mail: in their timeline, and in segments, whatever order it is told in."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.protobuf.message import Message

from chassis.identifiers import new_id
from flownurture.contacts.v1 import contacts_pb2 as pb
from flownurture.contacts.v1 import segments_pb2
from flownurture.delivery.v1.events_pb2 import MessageOutcome, MessagesSettled
from flownurture.sending.v1 import messages_pb2
from flownurture.sending.v1.events_pb2 import EmailsClicked, EmailsOpened
from flownurture.sending.v1.events_pb2 import Engagement as Told
from services.contacts.tests.tenant import Tenant

CAMPAIGN = str(new_id())
NOW = datetime.now(UTC)


def told(contact_id: str, days_ago: float, campaign_id: str = CAMPAIGN, url: str = "") -> Told:
    engagement = Told(message_id=str(new_id()), campaign_id=campaign_id, contact_id=contact_id, url=url)
    engagement.occurred_at.FromDatetime(NOW - timedelta(days=days_ago))
    return engagement


def sent(contact_id: str, status: "messages_pb2.MessageStatus.ValueType", days_ago: float) -> MessagesSettled:
    outcome = MessageOutcome(
        message_id=str(new_id()), campaign_id=CAMPAIGN, contact_id=contact_id, status=status
    )
    outcome.occurred_at.FromDatetime(NOW - timedelta(days=days_ago))
    return MessagesSettled(outcomes=[outcome])


async def fit(tenant: Tenant, event: "segments_pb2.Engagement.ValueType", **more: Any) -> int:
    condition = segments_pb2.EngagementCondition(event=event, **more)
    rule = segments_pb2.Rule(engagement=condition)
    return int((await tenant(segments_pb2.PreviewSegmentRequest(rule=rule))).count)


@pytest.mark.parametrize("order", [(40, 3), (3, 40)])
async def test_the_latest_time_counts_whichever_is_told_first(tenant: Tenant, order: tuple[int, int]) -> None:
    ada = await tenant.add("ada@example.com")
    for days_ago in order:
        await tenant.hear(EmailsOpened(engagements=[told(ada.id, days_ago), told(ada.id, days_ago)]))
    opened = segments_pb2.ENGAGEMENT_OPENED
    assert await fit(tenant, opened) == await fit(tenant, opened, within_days=4) == 1
    assert await fit(tenant, opened, within_days=2) == 0
    assert await fit(tenant, opened, campaign_id=CAMPAIGN, within_days=4) == 1
    assert await fit(tenant, opened, campaign_id=str(new_id())) == 0
    assert await fit(tenant, segments_pb2.ENGAGEMENT_CLICKED) == 0


async def test_a_timeline_tells_of_mail_newest_told_first(tenant: Tenant) -> None:
    ada = await tenant.add("ada@example.com")
    events: list[Message] = [
        sent(ada.id, messages_pb2.MESSAGE_STATUS_SENT, 3),
        EmailsOpened(engagements=[told(ada.id, 2)]),
        EmailsClicked(engagements=[told(ada.id, 1, url="https://shop.test/plums")]),
        sent(ada.id, messages_pb2.MESSAGE_STATUS_BOUNCED, 0),
        # What is no news of the contact.
        sent(ada.id, messages_pb2.MESSAGE_STATUS_VETOED, 0),
    ]
    for event in events:
        await tenant.hear(event)
    page = await tenant(pb.ListContactEventsRequest(contact_id=ada.id, page_size=2))
    rest = await tenant(
        pb.ListContactEventsRequest(contact_id=ada.id, page_size=9, page_token=page.next_page_token)
    )
    timeline = [*page.events, *rest.events]
    assert [event.type for event in timeline] == [
        pb.CONTACT_EVENT_TYPE_EMAIL_BOUNCED,
        pb.CONTACT_EVENT_TYPE_EMAIL_CLICKED,
        pb.CONTACT_EVENT_TYPE_EMAIL_OPENED,
        pb.CONTACT_EVENT_TYPE_EMAIL_SENT,
        pb.CONTACT_EVENT_TYPE_SUBSCRIBED,
    ]
    clicked = timeline[1]
    assert (clicked.text, clicked.about_id) == ("https://shop.test/plums", CAMPAIGN)
    assert clicked.occurred_at.ToDatetime(tzinfo=UTC) == NOW - timedelta(days=1)
    assert await fit(tenant, segments_pb2.ENGAGEMENT_RECEIVED, campaign_id=CAMPAIGN) == 1
    assert await fit(tenant, segments_pb2.ENGAGEMENT_BOUNCED, within_days=1) == 1


async def test_mail_of_a_workflow_counts_as_mail_of_no_campaign(tenant: Tenant) -> None:
    ada = await tenant.add("ada@example.com")
    engagement = told(ada.id, 1, campaign_id="")
    engagement.workflow_id, engagement.enrollment_id, engagement.step_id = (
        str(new_id()),
        str(new_id()),
        "hello",
    )
    await tenant.hear(EmailsOpened(engagements=[engagement]))
    assert await fit(tenant, segments_pb2.ENGAGEMENT_OPENED, within_days=2) == 1
    assert await tenant.count("engagements") == 1
    assert await tenant.count("contact_events WHERE type = 'email_opened' AND about_id IS NULL") == 1


async def test_an_event_that_comes_twice_is_told_once(tenant: Tenant) -> None:
    ada = await tenant.add("ada@example.com")
    event, event_id = EmailsOpened(engagements=[told(ada.id, 1)]), new_id()
    for _ in range(3):
        await tenant.hear(event, event_id)
    assert await tenant.count("contact_events WHERE type = 'email_opened'") == 1


async def test_of_who_is_erased_nothing_is_learned_any_more(tenant: Tenant, stranger: Tenant) -> None:
    ada = await tenant.add("ada@example.com")
    await tenant.hear(EmailsOpened(engagements=[told(ada.id, 1)]))
    await tenant(pb.DeleteContactRequest(contact_id=ada.id))
    assert await tenant.count("engagements") == 0
    before = await tenant.count("contact_events")
    await tenant.hear(EmailsClicked(engagements=[told(ada.id, 0)]))
    assert await tenant.count("engagements") == 0
    assert await tenant.count("contact_events") == before
    await stranger.hear(EmailsOpened(engagements=[told(ada.id, 1)]))
    assert await stranger.count("engagements") == 0
