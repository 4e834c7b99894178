"""From a campaign's mail to what counts: who opened it, who followed which link, and who was a program."""

import re
from datetime import timedelta
from email import message_from_bytes, policy

import pytest

from chassis.database import Database
from chassis.errors import NotFound
from flownurture.contacts.v1.events_pb2 import ContactsDeleted
from flownurture.sending.v1 import campaigns_pb2, tracking_pb2
from flownurture.sending.v1.events_pb2 import EmailsClicked, EmailsOpened
from services.sending.api.tracking import TrackingApi
from services.sending.consumers import ContactsReader
from services.sending.delivery.worker import Worker
from services.sending.tests.reader import HTML, PEARS, PLUMS, TRACKED, Letter, letter
from services.sending.tests.relay import MailRelay
from services.sending.tests.tenant import Tenant
from services.sending.tracking.campaign_links import Targets
from services.sending.tracking.hits import Recorder
from services.sending.tracking.links import TrackingLinks
from services.sending.tracking.tally import tally


@pytest.fixture
async def mail(tenant: Tenant, worker: Worker, relay: MailRelay) -> Letter:
    """A campaign's mail, an hour after it came."""
    received = await letter(tenant, worker, relay)
    await received.later()
    return received


async def test_a_campaigns_html_has_a_pixel_and_tracked_links_and_its_text_has_none(mail: Letter) -> None:
    assert len(mail.pixel) == 78
    assert [len(token) for token in mail.links] == [80, 80]
    # What is put together for each recipient leads there directly, and so does the way out.
    assert '<a href="https://shop.test/reader@example.com">' in mail.html
    assert re.search(r'<a href="[^"]+/u/[\w-]+">Unsubscribe</a>', mail.html)
    assert PLUMS in mail.text
    assert "/t/" not in mail.text


async def test_what_is_switched_off_is_not_in_the_mail(
    tenant: Tenant, worker: Worker, relay: MailRelay
) -> None:
    mail = await letter(tenant, worker, relay, track_opens=False, track_clicks=False)
    assert TRACKED.findall(mail.html) == []
    assert await tenant.rows("SELECT FROM campaign_links") == []


async def test_campaigns_are_tracked_unless_they_say_no(tenant: Tenant) -> None:
    campaign = await tenant.draft("reader@example.com", track_clicks=False)
    assert (campaign.track_opens, campaign.track_clicks) == (True, False)
    changed = await tenant(
        campaigns_pb2.UpdateCampaignRequest(campaign_id=campaign.id, track_opens=False, track_clicks=True)
    )
    assert (changed.track_opens, changed.track_clicks) == (False, True)


async def test_single_messages_are_not_tracked(tenant: Tenant, worker: Worker, relay: MailRelay) -> None:
    await tenant.message("reader@example.com", html=HTML)
    await tenant.deliver(worker)
    mail = message_from_bytes(relay.mail_to("reader@example.com"), policy=policy.default)
    assert "/t/c/" not in mail.as_string()


async def test_a_link_leads_where_it_led_and_the_pixel_is_a_picture(mail: Letter) -> None:
    assert [await mail.click(0), await mail.click(1)] == [PLUMS, PEARS]
    pixel = await mail.open()
    assert (pixel.content_type, pixel.data[:10]) == ("image/gif", b"GIF89a\1\0\1\0")


async def test_a_forged_token_is_not_found_and_counts_nothing(tenant: Tenant, mail: Letter) -> None:
    link = mail.links[0]
    for token in (mail.pixel[:-1], "A" * 80, link[:2] + ("B" if link[2] != "B" else "C") + link[3:]):
        with pytest.raises(NotFound):
            await tenant(tracking_pb2.FollowLinkRequest(token=token))
        with pytest.raises(NotFound):
            await tenant(tracking_pb2.GetOpenPixelRequest(token=token))
    # A number that is none of this campaign's.
    with pytest.raises(NotFound):
        await tenant(tracking_pb2.FollowLinkRequest(token="AD" + mail.pixel))
    await mail.open()
    assert await mail.judged(1) == [("opened", 0, "")]


async def test_a_link_works_when_its_recipient_is_forgotten(
    tenant: Tenant, mail: Letter, database: Database
) -> None:
    await tenant.hear(
        ContactsReader(database).consumers(None),  # type: ignore[arg-type]
        ContactsDeleted(contact_ids=[str(mail.contact_id)], email_digests=[b"d" * 32]),
    )
    assert await mail.click() == PLUMS
    await mail.judged(1)


async def test_a_person_is_led_on_when_their_click_cannot_be_recorded(
    tenant: Tenant, mail: Letter, database: Database, tracking_links: TrackingLinks
) -> None:
    full = Recorder(database, most_waiting=0)
    api = TrackingApi(tracking_links, Targets(database), full)
    answer = await api.follow_link(tracking_pb2.FollowLinkRequest(token=mail.links[0]), tenant.context)
    assert answer.location == PLUMS


async def test_what_persons_do_counts_and_is_told_and_their_first_is_kept_once(
    tenant: Tenant, mail: Letter
) -> None:
    for _ in range(2):
        await mail.open()
    await mail.click(1)
    assert await mail.judged(3) == [("opened", 0, ""), ("opened", 0, ""), ("clicked", 2, "")]
    await mail.open()
    await mail.judged(1)
    assert await mail.counts() == {
        ("opened", 0): (3, 1, 0),
        ("clicked", 0): (1, 1, 0),
        ("clicked", 2): (1, 1, 0),
    }
    firsts = await tenant.rows("SELECT message_id, kind, link_number FROM first_engagements ORDER BY 2, 3")
    assert [tuple(row) for row in firsts] == [
        (mail.message_id, "clicked", 0),
        (mail.message_id, "clicked", 2),
        (mail.message_id, "opened", 0),
    ]
    opened = [each for event in await tenant.published(EmailsOpened) for each in event.engagements]
    ((click,),) = [event.engagements for event in await tenant.published(EmailsClicked)]
    assert [each.is_first for each in opened] == [True, False, False]
    assert click.is_first
    assert (click.message_id, click.campaign_id, click.contact_id, click.url) == (
        str(mail.message_id),
        mail.campaign_id,
        str(mail.contact_id),
        PEARS,
    )


async def test_programs_are_counted_apart_and_told_to_nobody(tenant: Tenant, mail: Letter) -> None:
    await mail.open(head_only=True)
    await mail.open(agent="Mozilla/5.0")
    await mail.click(agent="curl/8.9.1")
    assert await mail.judged(3) == [
        ("opened", 0, "head_only"),
        ("opened", 0, "apple_mail_privacy"),
        ("clicked", 1, "program"),
    ]
    assert await mail.counts() == {
        ("opened", 0): (0, 0, 2),
        ("clicked", 0): (0, 0, 1),
        ("clicked", 1): (0, 0, 1),
    }
    assert await tenant.rows("SELECT FROM first_engagements") == []
    assert await tenant.published(EmailsOpened) == await tenant.published(EmailsClicked) == []


async def test_who_follows_several_links_at_once_is_a_program(mail: Letter) -> None:
    await mail.click(0)
    await mail.click(1)
    assert [rule for *_, rule in await mail.judged(2)] == ["several_links_at_once"] * 2
    # What was judged before stands against what comes at the same time.
    await mail.click(0)
    assert [rule for *_, rule in await mail.judged(1)] == ["several_links_at_once"] * 3


async def test_who_follows_a_link_twice_is_a_person(mail: Letter) -> None:
    await mail.click(0)
    await mail.click(0)
    assert [rule for *_, rule in await mail.judged(2)] == ["", ""]


async def test_who_follows_a_link_as_soon_as_the_mail_is_handed_over_is_a_program(
    tenant: Tenant, worker: Worker, relay: MailRelay
) -> None:
    mail = await letter(tenant, worker, relay)
    await mail.click()
    assert await mail.judged(1) == [("clicked", 1, "soon_after_handover")]


async def test_another_organizations_tally_finds_nothing(
    tenant: Tenant, stranger: Tenant, mail: Letter
) -> None:
    await mail.open()
    async with stranger.database.tenant_transaction(stranger.context) as session:
        assert await tally(session, timedelta(0)) == 0
    assert await mail.judged(1) == [("opened", 0, "")]
