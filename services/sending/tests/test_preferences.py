"""The page behind a mail's second link: how it is, and how a person has it otherwise."""

import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy

import pytest
from google.api.httpbody_pb2 import HttpBody

from chassis.email_address import EmailAddress
from chassis.errors import InvalidRequest, NotFound
from chassis.identifiers import new_id
from flownurture.contacts.v1.list_choices_pb2 import ListChoice
from flownurture.suppression.v1 import preferences_pb2 as pb
from flownurture.suppression.v1.events_pb2 import AddressesSuppressed, SuppressionsLifted
from services.sending.delivery.settings import DeliverySettings
from services.sending.delivery.worker import Worker
from services.sending.preference_links import PreferenceLinks
from services.sending.tests.list_choices import ListChoices
from services.sending.tests.relay import MailRelay
from services.sending.tests.tenant import Tenant

READER = "reader@example.com"
NEWS, OFFERS = (str(new_id()) for _ in range(2))


@pytest.fixture(scope="module")
def preference_links(settings: DeliverySettings) -> PreferenceLinks:
    return PreferenceLinks(settings.link_keys, settings.public_url)


@pytest.fixture
async def token(tenant: Tenant, worker: Worker, preference_links: PreferenceLinks) -> str:
    """Of the link in a campaign's mail to the reader."""
    await tenant.launch(READER)
    await tenant.deliver(worker)
    [message] = await tenant.rows("SELECT id, email_digest FROM messages")
    url = preference_links.url(tenant.context.organization, message.id, bytes(message.email_digest))
    return url.rpartition("/")[2]


async def page(tenant: Tenant, token: str) -> str:
    answer: HttpBody = await tenant(pb.GetPreferencesPageRequest(token=token))
    assert answer.content_type.startswith("text/html")
    return str(answer.data, "utf-8")


async def choose(tenant: Tenant, token: str, choice: str) -> str:
    body = HttpBody(content_type="application/x-www-form-urlencoded", data=f"choice={choice}".encode())
    answer: HttpBody = await tenant(pb.ChangePreferencesRequest(token=token, body=body))
    return str(answer.data, "utf-8")


async def reasons(tenant: Tenant) -> list[str]:
    return [row.reason for row in await tenant.rows("SELECT reason FROM suppressions ORDER BY reason")]


async def return_token(tenant: Tenant, token: str, worker: Worker, relay: MailRelay) -> str:
    """Of the link in the mail that confirms, as it arrived."""
    assert "check your inbox" in await choose(tenant, token, "subscribe")
    await tenant.deliver(worker)
    mail = message_from_bytes(relay.accepted[-1][1], policy=policy.default)
    assert mail["List-Unsubscribe"] is None
    plain, rich = (part.get_content() for part in mail.iter_parts())
    [found] = re.findall(r"/p/([\w-]+)", plain)
    assert rich.count(f"/p/{found}") == 2
    return str(found)


async def test_the_page_tells_how_it_is_and_reading_it_changes_nothing(tenant: Tenant, token: str) -> None:
    for _ in range(2):
        seen = await page(tenant, token)
        assert "You get mail from this sender" in seen
        assert seen.count("<button") == 1
    assert await reasons(tenant) == []
    await choose(tenant, token, "unsubscribe")
    seen = await page(tenant, token)
    assert "You are unsubscribed" in seen
    assert seen.count("<button") == 1


async def test_who_opts_out_on_the_page_is_out_once_however_often_they_do(tenant: Tenant, token: str) -> None:
    for _ in range(3):
        assert "You are unsubscribed" in await choose(tenant, token, "unsubscribe")
    assert await reasons(tenant) == ["unsubscribe"]
    assert len(await tenant.published(AddressesSuppressed)) == 1


async def test_who_opted_out_comes_back_by_a_click_in_a_mail_alone(
    tenant: Tenant, token: str, worker: Worker, relay: MailRelay
) -> None:
    await choose(tenant, token, "unsubscribe")
    confirmation = await return_token(tenant, token, worker, relay)
    assert "again?" in await page(tenant, confirmation)
    assert await reasons(tenant) == ["unsubscribe"]
    for _ in range(2):
        assert "subscribed again" in await choose(tenant, confirmation, "")
    assert await reasons(tenant) == []
    assert len(await tenant.published(SuppressionsLifted)) == 1
    await tenant.launch(READER)
    await tenant.deliver(worker)
    assert relay.handed_over[READER] == 3


async def test_no_more_than_three_mails_a_day_ask_for_a_confirmation(tenant: Tenant, token: str) -> None:
    await choose(tenant, token, "unsubscribe")
    for _ in range(5):
        assert "check your inbox" in await choose(tenant, token, "subscribe")
    [count] = await tenant.rows("SELECT count(*) FROM messages WHERE category = 'confirmation'")
    assert count == (3,)


@pytest.mark.parametrize("reason", ["manual", "complaint", "hard_bounce"])
async def test_what_is_not_their_opt_out_is_not_theirs_to_end(
    tenant: Tenant, token: str, worker: Worker, relay: MailRelay, reason: str
) -> None:
    await choose(tenant, token, "unsubscribe")
    confirmation = await return_token(tenant, token, worker, relay)
    await tenant.rows(
        "INSERT INTO suppressions (email_digest, reason) SELECT email_digest, :reason FROM suppressions",
        reason=reason,
    )
    assert "<button" not in await page(tenant, token)
    await choose(tenant, confirmation, "")
    assert await reasons(tenant) == [reason]
    await choose(tenant, token, "unsubscribe")
    await choose(tenant, token, "subscribe")
    [count] = await tenant.rows("SELECT count(*) FROM messages WHERE category = 'confirmation'")
    assert count == (1,)


async def test_nobody_is_asked_who_gets_mail_or_was_erased(tenant: Tenant, token: str) -> None:
    await choose(tenant, token, "subscribe")
    await choose(tenant, token, "unsubscribe")
    await tenant.rows("UPDATE messages SET email = '', email_digest = decode(repeat('00', 32), 'hex')")
    assert "check your inbox" in await choose(tenant, token, "subscribe")
    assert await tenant.rows("SELECT FROM messages WHERE category = 'confirmation'") == []


async def test_a_link_whose_time_is_over_changes_nothing(
    tenant: Tenant, token: str, preference_links: PreferenceLinks
) -> None:
    await choose(tenant, token, "unsubscribe")
    [entry] = await tenant.rows("SELECT email_digest FROM suppressions")
    late = datetime.now(UTC) - timedelta(minutes=1)
    url = preference_links.return_url(tenant.context.organization, bytes(entry.email_digest), late)
    for told in (
        await page(tenant, url.rpartition("/")[2]),
        await choose(tenant, url.rpartition("/")[2], ""),
    ):
        assert "expired" in told
    assert await reasons(tenant) == ["unsubscribe"]


@pytest.mark.parametrize("ask", [page, lambda tenant, token: choose(tenant, token, "unsubscribe")])
async def test_a_tampered_link_is_not_found_and_changes_nothing(
    tenant: Tenant, token: str, ask: Callable[[Tenant, str], Awaitable[str]]
) -> None:
    for place in range(0, len(token), 11):
        with pytest.raises(NotFound):
            await ask(tenant, token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :])
    assert await reasons(tenant) == []


@pytest.fixture
def lists(tenant: Tenant, list_choices: ListChoices) -> ListChoices:
    """The reader is in one public list, and has been in another."""
    digest = EmailAddress.parse(READER).digest
    news = ListChoice(list_id=NEWS, name="News", description="Each <week>", chosen=True)
    for choice in (news, ListChoice(list_id=OFFERS, name="Offers")):
        list_choices.add(tenant.context, digest, choice)
    return list_choices


def ticked(seen: str) -> list[bool]:
    return [" checked" in box for box in re.findall('<input type="checkbox"[^>]*>', seen)]


async def test_the_page_shows_the_lists_of_the_person_and_changes_them(
    tenant: Tenant, token: str, lists: ListChoices
) -> None:
    seen = await page(tenant, token)
    assert ticked(seen) == [True, False]
    assert "Each &lt;week&gt;" in seen
    for _ in range(2):
        changed = await choose(tenant, token, f"lists&offered={NEWS}&offered={OFFERS}&list={OFFERS}")
        assert "Your choice is saved" in changed
        assert ticked(changed) == [False, True]
    assert ticked(await page(tenant, token)) == [False, True]
    assert await reasons(tenant) == []


async def test_without_contacts_the_page_still_opts_out_and_says_what_it_cannot(
    tenant: Tenant, token: str, lists: ListChoices
) -> None:
    lists.down = True
    try:
        seen = await page(tenant, token)
        assert "cannot be shown at the moment" in seen
        assert ticked(seen) == []
        assert "is not saved" in await choose(tenant, token, f"lists&offered={NEWS}")
        assert "You are unsubscribed" in await choose(tenant, token, "unsubscribe")
    finally:
        lists.down = False
    assert await reasons(tenant) == ["unsubscribe"]


async def test_choosing_lists_ends_no_opt_out(tenant: Tenant, token: str, lists: ListChoices) -> None:
    await choose(tenant, token, "unsubscribe")
    changed = await choose(tenant, token, f"lists&offered={NEWS}&offered={OFFERS}&list={OFFERS}")
    assert "You are unsubscribed" in changed
    assert ticked(changed) == []
    assert await reasons(tenant) == ["unsubscribe"]


@pytest.mark.parametrize(
    "choice",
    [
        "",
        "everything",
        "unsubscribe&choice=subscribe",
        "lists&offered=none",
        "lists&list=%00",
        "lists" + f"&offered={NEWS}" * 41,
    ],
)
async def test_what_the_page_does_not_offer_is_refused(tenant: Tenant, token: str, choice: str) -> None:
    with pytest.raises(InvalidRequest):
        await choose(tenant, token, choice)
    assert await reasons(tenant) == []
