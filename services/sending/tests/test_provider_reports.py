"""What providers post does what the same mails do: to the messages whose tokens come back, once, and to nothing else."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any
from uuid import UUID

import pytest
from google.api.httpbody_pb2 import HttpBody
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from chassis.context import ActorKind, RequestContext
from chassis.database import Database, RoleDatabase
from chassis.errors import NotFound, Unauthenticated, Unavailable
from chassis.secret import Secret
from flownurture.feedback.v1.provider_reports_pb2 import TakeProviderReportRequest
from flownurture.sending.v1 import messages_pb2
from flownurture.suppression.v1 import suppressions_pb2
from flownurture.suppression.v1.events_pb2 import AddressesSuppressed
from services.sending.delivery.settings import DeliverySettings
from services.sending.delivery.worker import Worker
from services.sending.feedback.api import ProviderReportApi
from services.sending.feedback.intake import Intake
from services.sending.feedback.origins import Origins
from services.sending.feedback.providers.directory import EVENTS, configured
from services.sending.feedback.providers.provider import Post
from services.sending.feedback.reports import Kept, KeptReports, Report, keep_reports
from services.sending.feedback.reprocessing import Change, Reprocessing
from services.sending.feedback.settings import FeedbackSettings
from services.sending.feedback.sweep import Sweep
from services.sending.feedback.tests.posted import Keys, post_named, posted
from services.sending.signed_addresses import CarriedTokens, ReturnPaths, UnsubscribeAddresses
from services.sending.tests.tenant import Tenant

KEYS = Keys()
ANYBODY = RequestContext(issuer="gateway", actor_kind=ActorKind.ANONYMOUS)
STATE = (
    "SELECT id, status, smtp_reply, settled_at FROM messages ORDER BY id",
    "SELECT id, message_id, kind, report_id FROM feedback_findings ORDER BY id",
    "SELECT id, email, reason, reaffirmed_at FROM suppressions ORDER BY id",
    "SELECT count(*) FROM outbox UNION ALL SELECT count(*) FROM message_events",
)
HARD = messages_pb2.SUPPRESSION_REASON_HARD_BOUNCE
COMPLAINT = messages_pb2.SUPPRESSION_REASON_COMPLAINT
UNSUBSCRIBE = messages_pb2.SUPPRESSION_REASON_UNSUBSCRIBE

Configure = Callable[[Intake], ProviderReportApi]


async def sns(url: str) -> bytes:
    """SNS, where it is asked for its certificate."""
    return KEYS.certificate() if url.endswith(".pem") else b""


@pytest.fixture(scope="session")
def feedback_settings(service_environment: Callable[[str], dict[str, str]]) -> FeedbackSettings:
    environment: Mapping[str, Any] = {
        name.lower(): value for name, value in service_environment("feedback").items()
    }
    return FeedbackSettings(**{**environment, **KEYS.settings()})


@pytest.fixture
def configure(feedback_settings: FeedbackSettings) -> Configure:
    return lambda intake: ProviderReportApi(configured(feedback_settings, sns), intake)


@pytest.fixture
def api(configure: Configure, intake: Intake) -> ProviderReportApi:
    return configure(intake)


async def take(api: ProviderReportApi, provider: str, post: Post) -> None:
    request = TakeProviderReportRequest(
        provider=provider,
        body=HttpBody(data=post.body),
        authorization=post.headers.get("authorization", ""),
        sendgrid_signature=post.headers.get("x-twilio-email-event-webhook-signature", ""),
        sendgrid_timestamp=post.headers.get("x-twilio-email-event-webhook-timestamp", ""),
    )
    await api.take_provider_report(request, ANYBODY)


class Recipient:
    """Somebody who got a message through a provider."""

    def __init__(self, tenant: Tenant, message_id: UUID, settings: DeliverySettings) -> None:
        whose, keys = (tenant.context.organization, message_id), settings.link_keys
        self.message_id = message_id
        self.places = {
            "token": CarriedTokens(keys).token(*whose),
            "return_path": ReturnPaths(keys).address(*whose, "mail.test"),
            "unsubscribe_address": UnsubscribeAddresses(keys).address(*whose, "mail.test"),
        }

    def post(self, provider: str, name: str) -> Post:
        """A genuine post about their message."""
        return KEYS.genuine(post_named(provider, name), **self.places)


Reach = Callable[[Tenant, str], Awaitable[Recipient]]


@pytest.fixture
def reach(worker: Worker, settings: DeliverySettings) -> Reach:
    async def send(tenant: Tenant, email: str) -> Recipient:
        await tenant.launch(email)
        await tenant.deliver(worker)
        (message,) = await tenant.rows("SELECT id FROM messages WHERE email = :email", email=email)
        return Recipient(tenant, message.id, settings)

    return send


@pytest.fixture
async def recipient(tenant: Tenant, reach: Reach) -> Recipient:
    return await reach(tenant, "reader@example.com")


async def listed(tenant: Tenant) -> list[tuple[str, int]]:
    entries = (await tenant(suppressions_pb2.ListSuppressionsRequest())).suppressions
    return [(entry.email, entry.reason) for entry in entries]


async def state_of(*tenants: Tenant) -> list[Any]:
    return [await tenant.rows(statement) for tenant in tenants for statement in STATE]


@pytest.mark.parametrize("provider", EVENTS)
async def test_a_hard_bounce_suppresses_its_address_and_says_by_what_rule_and_report(
    tenant: Tenant, recipient: Recipient, api: ProviderReportApi, scheduler: RoleDatabase, provider: str
) -> None:
    post = recipient.post(provider, "no_such_user")
    await take(api, provider, post)
    assert await listed(tenant) == [("reader@example.com", HARD)]
    assert await tenant.statuses() == {"reader@example.com": "bounced"}
    (finding,) = await tenant.rows("SELECT * FROM feedback_findings")
    assert (finding.kind, finding.rule, finding.source) == ("hard", "bad_mailbox", "provider")
    (entry,) = await tenant.rows("SELECT rule, source, report_id FROM suppressions")
    assert tuple(entry) == ("bad_mailbox", "provider", finding.report_id)
    (report,) = await KeptReports(scheduler).of([finding.report_id])
    assert (report.provider, report.content) == (provider, post.body)


async def test_what_amazon_calls_transient_is_hard_where_the_domain_takes_no_mail(
    tenant: Tenant, recipient: Recipient, api: ProviderReportApi
) -> None:
    await take(api, "ses", recipient.post("ses", "transient_but_a_domain_without_mail"))
    assert await listed(tenant) == [("reader@example.com", HARD)]


@pytest.mark.parametrize(
    ("provider", "name"),
    [("ses", "permanent_but_policy"), ("postmark", "hard_but_full"), ("brevo", "hard_without_a_reason")],
)
async def test_what_a_provider_calls_hard_and_is_not_suppresses_nobody(
    tenant: Tenant, recipient: Recipient, api: ProviderReportApi, provider: str, name: str
) -> None:
    await take(api, provider, recipient.post(provider, name))
    assert await listed(tenant) == []
    assert await tenant.statuses() == {"reader@example.com": "bounced"}


async def test_who_unsubscribes_at_the_provider_has_opted_out(
    tenant: Tenant, recipient: Recipient, api: ProviderReportApi
) -> None:
    await take(api, "mailgun", recipient.post("mailgun", "unsubscribed"))
    assert await listed(tenant) == [("reader@example.com", UNSUBSCRIBE)]
    assert await tenant.statuses() == {"reader@example.com": "sent"}
    (told,) = await tenant.published(AddressesSuppressed)
    assert [(address.reason, address.message_id) for address in told.addresses] == [
        (UNSUBSCRIBE, str(recipient.message_id))
    ]


async def test_a_post_about_messages_of_several_organizations_does_to_each_what_it_says(
    *, tenant: Tenant, stranger: Tenant, reach: Reach, api: ProviderReportApi
) -> None:
    bad, complaining = await reach(tenant, "bad@example.com"), await reach(tenant, "angry@example.com")
    leaving, others = await reach(stranger, "leaving@example.com"), await reach(stranger, "bad@example.com")

    def event(recipient: Recipient, **told: str) -> dict[str, str]:
        return {"flownurture": recipient.places["token"], **told}

    bounced = {"event": "bounce", "status": "5.1.1", "reason": "550 5.1.1 unknown"}
    events = [
        event(bad, **bounced),
        event(leaving, event="unsubscribe"),
        {"flownurture": "forged", **bounced},
        event(others, **bounced),
        event(complaining, event="spamreport"),
        event(complaining, event="delivered"),
        {},
    ]
    await take(api, "sendgrid", KEYS.of_sendgrid(json.dumps(events).encode()))
    assert set(await listed(tenant)) == {("bad@example.com", HARD), ("angry@example.com", COMPLAINT)}
    assert set(await listed(stranger)) == {("leaving@example.com", UNSUBSCRIBE), ("bad@example.com", HARD)}
    assert await tenant.statuses() == {"bad@example.com": "bounced", "angry@example.com": "sent"}
    assert await stranger.statuses() == {"leaving@example.com": "sent", "bad@example.com": "bounced"}


async def test_a_bounce_and_an_opt_out_in_one_post_are_both_told(
    tenant: Tenant, recipient: Recipient, api: ProviderReportApi
) -> None:
    await take(api, "sendgrid", recipient.post("sendgrid", "many_at_once"))
    everything = {HARD, COMPLAINT, UNSUBSCRIBE}
    assert {reason for _, reason in await listed(tenant)} == everything
    told = await tenant.published(AddressesSuppressed)
    # Of what is returned suppression tells, when it hears of it.
    assert {address.reason for event in told for address in event.addresses} == everything - {HARD}


@pytest.mark.parametrize("provider", EVENTS)
async def test_a_post_that_comes_again_changes_nothing_not_even_for_who_came_back_since(
    tenant: Tenant, recipient: Recipient, api: ProviderReportApi, provider: str
) -> None:
    names = [post.name for post in posted() if post.provider == provider and "opt_out" in post.says]
    posts = [recipient.post(provider, name) for name in ("no_such_user", *names)]
    for post in posts:
        await take(api, provider, post)
    before = await state_of(tenant)
    for post in posts:
        await take(api, provider, post)
    assert await state_of(tenant) == before


async def test_a_genuine_post_with_a_forged_token_changes_nothing(
    *,
    tenant: Tenant,
    stranger: Tenant,
    recipient: Recipient,
    api: ProviderReportApi,
    settings: DeliverySettings,
) -> None:
    before = await state_of(tenant, stranger)
    forged = Recipient(tenant, recipient.message_id, settings)
    forged.places = {name: _with_another_beginning(value) for name, value in recipient.places.items()}
    # Genuine, and of an organization that has no such message.
    elsewhere = Recipient(stranger, recipient.message_id, settings)
    await asyncio.gather(
        *(
            take(api, post.provider, somebody.post(post.provider, post.name))
            for somebody in (forged, elsewhere)
            for post in posted()
        )
    )
    assert await state_of(tenant, stranger) == before


def _with_another_beginning(value: str) -> str:
    return ("b" if value[0] == "a" else "a") + value[1:]


async def test_what_is_not_genuine_is_not_even_kept(
    tenant: Tenant, recipient: Recipient, api: ProviderReportApi, scheduler: RoleDatabase
) -> None:
    before = await state_of(tenant)
    for provider in EVENTS:
        post = recipient.post(provider, "no_such_user")
        headers = {name: value[:-4] + "AAAA" for name, value in post.headers.items()}
        body = post.body if headers else post.body.replace(b'"timestamp": "1', b'"timestamp": "2')
        body = body.replace(b'"Type": "Notification"', b'"Type": "UnsubscribeConfirmation"')
        with pytest.raises(Unauthenticated):
            await take(api, provider, Post(headers, body))
        assert await KeptReports(scheduler).of([Report.of_post(provider, body).id]) == []
    assert await state_of(tenant) == before


async def test_a_provider_that_is_not_configured_is_not_there(
    recipient: Recipient, intake: Intake, service_environment: Callable[[str], dict[str, str]]
) -> None:
    environment: Mapping[str, Any] = {
        name.lower(): value for name, value in service_environment("feedback").items()
    }
    bare = ProviderReportApi(configured(FeedbackSettings(**environment), sns), intake)
    for provider in EVENTS:
        with pytest.raises(NotFound):
            await take(bare, provider, recipient.post(provider, "no_such_user"))


async def test_a_genuine_post_that_nobody_can_read_is_kept(
    api: ProviderReportApi, scheduler: RoleDatabase
) -> None:
    body = b'[{"event": "bounce"'
    await take(api, "sendgrid", KEYS.of_sendgrid(body))
    (report,) = await KeptReports(scheduler).of([Report.of_post("sendgrid", body).id])
    assert report.content == body


async def test_what_was_kept_when_its_process_died_is_done_by_the_sweep(
    tenant: Tenant, recipient: Recipient, intake: Intake, database: Database, scheduler: RoleDatabase
) -> None:
    report = Report.of_post("sendgrid", recipient.post("sendgrid", "many_at_once").body)
    async with database.platform_transaction() as connection:
        await keep_reports(connection, [Kept(report, is_due=True)])
    await tenant.rows("UPDATE feedback_reports SET due_at = now() WHERE id = :id", id=report.id)
    await Sweep(KeptReports(scheduler), intake).round()
    assert {reason for _, reason in await listed(tenant)} == {HARD, COMPLAINT, UNSUBSCRIBE}


async def test_when_the_database_is_away_the_provider_is_told_to_come_again(
    recipient: Recipient, configure: Configure, settings: DeliverySettings
) -> None:
    away = Database(Secret("postgresql://nobody@127.0.0.1:1/none"), schema="sending")
    with pytest.raises(Unavailable):
        await take(
            configure(Intake(away, Origins(settings.link_keys))),
            "brevo",
            recipient.post("brevo", "no_such_user"),
        )


async def test_processed_again_a_post_keeps_all_that_it_says_of_a_message_and_repeats_no_opt_out(
    *,
    tenant: Tenant,
    recipient: Recipient,
    api: ProviderReportApi,
    intake: Intake,
    database: Database,
    scheduler: RoleDatabase,
) -> None:
    post = recipient.post("sendgrid", "many_at_once")
    await take(api, "sendgrid", post)
    before = await state_of(tenant)
    reprocessing = Reprocessing(database, intake)

    async def reports() -> AsyncIterator[Report]:
        for report in await KeptReports(scheduler).of([Report.of_post("sendgrid", post.body).id]):
            yield report

    unchanged = {Change("hard", "hard"): 1, Change("complaint", "complaint"): 1}
    assert await reprocessing.preview(reports()) == unchanged
    assert await reprocessing.apply(reports()) == unchanged
    assert await state_of(tenant) == before


@examples(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    post=st.sampled_from(list(posted())),
    value=st.none() | st.integers() | st.text() | st.lists(st.text()) | st.dictionaries(st.text(), st.text()),
    data=st.data(),
)
async def test_whatever_stands_in_a_genuine_post_it_is_taken(
    recipient: Recipient, api: ProviderReportApi, post: Any, value: Any, data: st.DataObject
) -> None:
    text = json.dumps(post.document)
    leaves = [piece for piece in text.split('"') if piece.strip(' :,{}[]0123456789.-\\"')]
    chosen = data.draw(st.sampled_from(leaves)) if leaves else ""
    broken = text.replace(f'"{chosen}"', json.dumps(value)) if chosen else text
    try:
        document = json.loads(broken)
    except ValueError:
        # Something other than a text as a name: no JSON, which is a post as well.
        document = broken
    changed = type(post)(post.provider, post.name, post.says, post.status, document)
    made = KEYS.genuine(changed, **recipient.places)
    try:
        await take(api, post.provider, made)
    except Unauthenticated:
        # What Mailgun signs stands among the rest.
        assert post.provider == "mailgun"
