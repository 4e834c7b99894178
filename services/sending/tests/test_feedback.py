"""What reports do: to the message that their token names and to the list, once, and nothing without a genuine token."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import text

from chassis.database import Database, RoleDatabase
from chassis.identifiers import new_id
from flownurture.delivery.v1.events_pb2 import MessagesSettled
from flownurture.sending.v1 import analytics_pb2, messages_pb2
from flownurture.sending.v1.events_pb2 import EmailsComplained
from flownurture.suppression.v1 import suppressions_pb2
from flownurture.suppression.v1.events_pb2 import AddressesSuppressed
from services.sending.bounces import Kind
from services.sending.consumers import OutcomeReader
from services.sending.delivery.settings import DeliverySettings
from services.sending.delivery.worker import Worker
from services.sending.dispatch import Dispatch
from services.sending.feedback.effects import Told, take_effect
from services.sending.feedback.intake import Intake
from services.sending.feedback.origins import Origins
from services.sending.feedback.reports import KeptReports, Report
from services.sending.feedback.reprocessing import Change, Reprocessing
from services.sending.feedback.sweep import Forgetting, Sweep
from services.sending.feedback.tests.labelled_mail import mail_named
from services.sending.feedback.understanding import Finding, Shape
from services.sending.signed_addresses import ReturnPaths, UnsubscribeAddresses
from services.sending.tests.relay import MailRelay
from services.sending.tests.tenant import Tenant

FINDINGS = (
    "SELECT message_id, kind, enhanced_status, rule, source, report_id FROM feedback_findings ORDER BY id"
)


class Recipient:
    """Somebody who got a message, and whose server answers to its return path."""

    def __init__(self, tenant: Tenant, intake: Intake, settings: DeliverySettings, message_id: UUID) -> None:
        self.message_id = message_id
        self._intake = intake
        organization = tenant.context.organization
        self.return_path = ReturnPaths(settings.link_keys).address(organization, message_id, "mail.test")
        self.unsubscribe_address = UnsubscribeAddresses(settings.link_keys).address(
            organization, message_id, "mail.test"
        )

    async def report(self, name: str, *, to: str = "") -> None:
        """Send a mail of the corpus, by default to the message's return path."""
        await (await self._intake.take(Report(new_id(), [to or self.return_path], mail_named(name).content)))


@pytest.fixture
async def recipient(tenant: Tenant, worker: Worker, intake: Intake, settings: DeliverySettings) -> Recipient:
    await tenant.launch("reader@example.com")
    await tenant.deliver(worker)
    (message,) = await tenant.rows("SELECT id FROM messages")
    return Recipient(tenant, intake, settings, message.id)


@pytest.fixture
def kept(scheduler: RoleDatabase) -> KeptReports:
    return KeptReports(scheduler)


async def listed(tenant: Tenant) -> list[tuple[str, int]]:
    entries = (await tenant(suppressions_pb2.ListSuppressionsRequest())).suppressions
    return [(entry.email, entry.reason) for entry in entries]


HARD = [("reader@example.com", messages_pb2.SUPPRESSION_REASON_HARD_BOUNCE)]
COMPLAINT = [("reader@example.com", messages_pb2.SUPPRESSION_REASON_COMPLAINT)]


async def test_a_hard_bounce_suppresses_its_address_at_once_and_says_by_what_report_and_rule(
    tenant: Tenant, recipient: Recipient
) -> None:
    await recipient.report("postfix_user_unknown")
    assert await listed(tenant) == HARD
    assert await tenant.statuses() == {"reader@example.com": "bounced"}
    (finding,) = await tenant.rows(FINDINGS)
    assert tuple(finding)[:5] == (recipient.message_id, "hard", "5.1.1", "bad_mailbox", "dsn")
    (entry,) = await tenant.rows("SELECT message_id, rule, source, report_id FROM suppressions")
    assert tuple(entry) == (recipient.message_id, "bad_mailbox", "dsn", finding.report_id)


async def test_who_bounced_gets_nothing_of_the_next_campaign(
    tenant: Tenant, recipient: Recipient, worker: Worker, relay: MailRelay
) -> None:
    await recipient.report("qmail_no_mailbox")
    second = await tenant.launch("reader@example.com")
    await tenant.deliver(worker)
    assert relay.handed_over == {"reader@example.com": 1}
    assert (await tenant.report(second)).vetoed == 1


@pytest.mark.parametrize("name", ["gmail_over_quota", "gmail_unsolicited", "free_form_unknown_cause"])
async def test_other_bounces_are_found_and_suppress_nobody(
    tenant: Tenant, recipient: Recipient, name: str
) -> None:
    await recipient.report(name)
    assert await listed(tenant) == []
    assert await tenant.statuses() == {"reader@example.com": "bounced"}
    (finding,) = await tenant.rows(FINDINGS)
    assert finding.kind == mail_named(name).kind


@pytest.mark.parametrize(
    "name", ["auto_left_the_company", "postfix_delayed", "person_answers", "arf_not_spam"]
)
async def test_what_is_no_bounce_changes_nothing(tenant: Tenant, recipient: Recipient, name: str) -> None:
    await recipient.report(name)
    assert await listed(tenant) == []
    assert await tenant.rows(FINDINGS) == []
    assert await tenant.statuses() == {"reader@example.com": "sent"}


async def test_a_complaint_suppresses_and_leaves_the_message_as_it_was(
    tenant: Tenant, recipient: Recipient
) -> None:
    await recipient.report("arf_yahoo")
    assert await listed(tenant) == COMPLAINT
    assert await tenant.statuses() == {"reader@example.com": "sent"}
    (suppressed,) = await tenant.published(AddressesSuppressed)
    assert [address.message_id for address in suppressed.addresses] == [str(recipient.message_id)]


async def test_a_complaint_is_told_with_its_message_once_however_often_it_is_reported(
    tenant: Tenant, recipient: Recipient
) -> None:
    for _ in range(2):
        await recipient.report("arf_yahoo")
    ((complaint,),) = [event.complaints for event in await tenant.published(EmailsComplained)]
    (message,) = await tenant.rows("SELECT id, campaign_id, contact_id FROM messages")
    told = (complaint.message_id, complaint.campaign_id, complaint.contact_id)
    assert told == (str(message.id), str(message.campaign_id), str(message.contact_id))
    assert complaint.HasField("occurred_at")


async def test_more_complaints_than_an_event_may_hold_are_told_in_several_each_of_them_once(
    tenant: Tenant,
) -> None:
    await tenant.launch(*(f"reader{number}@example.com" for number in range(501)))
    messages = [row.id for row in await tenant.rows("SELECT id FROM messages")]
    complaint = Finding(Shape.ARF, Kind.COMPLAINT)
    async with tenant.database.tenant_transaction(tenant.context) as session:
        organization = tenant.context.organization
        await take_effect(session, [Told(organization, each, complaint, new_id()) for each in messages])
    events = [event.complaints for event in await tenant.published(EmailsComplained)]
    assert sorted(map(len, events)) == [1, 500]
    assert Counter(one.message_id for event in events for one in event) == Counter(map(str, messages))


@pytest.mark.parametrize("names", ["return_path", "unsubscribe_address"])
async def test_a_complaint_to_an_address_of_a_feedback_loop_counts_by_the_token_of_the_mail_that_it_encloses(
    tenant: Tenant, recipient: Recipient, intake: Intake, names: str
) -> None:
    token = getattr(recipient, names).encode()
    field = b"Return-Path: <%s>" if names == "return_path" else b"List-Unsubscribe: <mailto:%s>"
    content = mail_named("arf_comcast").content.replace(
        b"Return-Path: <bounces@mail.example.com>", field % token
    )
    await (await intake.take(Report(new_id(), ["fbl@mail.test"], content)))
    assert await listed(tenant) == COMPLAINT


async def test_a_token_that_was_tampered_with_changes_nothing(
    tenant: Tenant, stranger: Tenant, recipient: Recipient, settings: DeliverySettings
) -> None:
    token, _, domain = recipient.return_path.partition("@")
    forged = [
        token[:-1] + ("a" if token[-1] != "a" else "b"),
        ("a" if token[0] != "a" else "b") + token[1:],
        token[:-2],
        recipient.unsubscribe_address.partition("@")[0],
        "bounces",
    ]
    for local in forged:
        await recipient.report("postfix_user_unknown", to=f"{local}@{domain}")
        await recipient.report("arf_yahoo", to=f"{local}@{domain}")
    # Genuine, and of an organization that has no such message.
    elsewhere = ReturnPaths(settings.link_keys).address(
        stranger.context.organization, recipient.message_id, "mail.test"
    )
    await recipient.report("postfix_user_unknown", to=elsewhere)
    for organization in (tenant, stranger):
        assert await listed(organization) == []
        assert await organization.rows(FINDINGS) == []
    assert await tenant.statuses() == {"reader@example.com": "sent"}


async def test_a_token_in_capitals_is_genuine(tenant: Tenant, recipient: Recipient) -> None:
    await recipient.report("postfix_user_unknown", to=recipient.return_path.upper())
    assert await listed(tenant) == HARD


async def test_a_report_that_comes_again_changes_nothing(tenant: Tenant, recipient: Recipient) -> None:
    for name in ("postfix_user_unknown", "arf_yahoo"):
        await recipient.report(name)
    state = "SELECT id, status, smtp_reply, settled_at FROM messages"
    counted = "SELECT count(*) FROM outbox UNION ALL SELECT count(*) FROM message_events"
    before = [await tenant.rows(statement) for statement in (state, FINDINGS, counted)]
    for name in ("postfix_user_unknown", "arf_yahoo", "gmail_no_such_user"):
        await recipient.report(name)
    assert [await tenant.rows(statement) for statement in (state, FINDINGS, counted)] == before


async def test_what_is_sent_and_what_came_back_add_up(
    tenant: Tenant, worker: Worker, recipient: Recipient, scheduler: RoleDatabase
) -> None:
    (campaign,) = await tenant.rows("SELECT id FROM campaigns")
    await recipient.report("gmail_over_quota")
    report = await tenant.report(str(campaign.id))
    assert (report.audience, report.sent, report.delivered, report.bounced) == (1, 0, 0, 1)
    consumers = OutcomeReader(tenant.database, Dispatch(tenant.database, scheduler)).consumers(None)  # type: ignore[arg-type]
    # The bounce is heard before what it supersedes, and all of it twice.
    for row in 2 * await tenant.rows("SELECT envelope FROM outbox ORDER BY id DESC"):
        for consumer in consumers:
            await consumer.handle(row.envelope)
        overview = await tenant(analytics_pb2.GetAnalyticsOverviewRequest())
        assert overview.sent + overview.bounced <= 1
    assert (overview.sent, overview.bounced) == (0, 1)


async def test_the_outcome_that_was_told_before_stays_in_the_messages_history(
    tenant: Tenant, recipient: Recipient
) -> None:
    await recipient.report("gmail_over_quota")
    message = await tenant(messages_pb2.GetMessageRequest(message_id=str(recipient.message_id)))
    assert message.status == messages_pb2.MESSAGE_STATUS_BOUNCED
    assert "out of storage space" in message.smtp_reply
    told = [event.status for event in message.events]
    assert told[-2:] == [messages_pb2.MESSAGE_STATUS_SENT, messages_pb2.MESSAGE_STATUS_BOUNCED]


async def test_others_hear_that_a_message_bounced_and_its_address_was_suppressed(
    tenant: Tenant, recipient: Recipient, suppression_readers: list[Any]
) -> None:
    await recipient.report("postfix_user_unknown")
    sent, returned = await tenant.published(MessagesSettled)
    (outcome,) = returned.outcomes
    assert (outcome.status, outcome.superseded_status) == (
        messages_pb2.MESSAGE_STATUS_BOUNCED,
        messages_pb2.MESSAGE_STATUS_SENT,
    )
    assert outcome.superseded_at == sent.outcomes[0].occurred_at
    await tenant.hear(suppression_readers, returned)
    (suppressed,) = await tenant.published(AddressesSuppressed)
    assert [address.reason for address in suppressed.addresses] == [
        messages_pb2.SUPPRESSION_REASON_HARD_BOUNCE
    ]


async def test_a_report_that_is_faster_than_its_messages_outcome_suppresses_and_comes_back_for_the_rest(
    tenant: Tenant, recipient: Recipient, intake: Intake, kept: KeptReports
) -> None:
    await tenant.rows("UPDATE messages SET status = 'queued', settled_at = NULL")
    await recipient.report("postfix_user_unknown")
    assert await listed(tenant) == HARD
    assert await tenant.statuses() == {"reader@example.com": "queued"}
    await tenant.rows("UPDATE messages SET status = 'sent', settled_at = now()")
    (finding,) = await tenant.rows(FINDINGS)
    await tenant.rows("UPDATE feedback_reports SET due_at = now() WHERE id = :id", id=finding.report_id)
    await Sweep(kept, intake).round()
    assert await tenant.statuses() == {"reader@example.com": "bounced"}
    assert len(await tenant.rows(FINDINGS)) == 1


async def test_of_an_erased_person_nothing_is_put_on_the_list(tenant: Tenant, recipient: Recipient) -> None:
    await tenant.rows("UPDATE messages SET email = '', email_digest = decode(repeat('00', 32), 'hex')")
    await recipient.report("postfix_user_unknown")
    assert await listed(tenant) == []
    assert (await tenant.statuses()).popitem()[1] == "bounced"


async def test_refusals_at_the_door_are_findings_as_well(
    tenant: Tenant, worker: Worker, relay: MailRelay
) -> None:
    async def refuses(recipient: str) -> str:
        return {"bad": "550 5.1.1 nobody", "full": "552 5.2.2 full"}.get(
            recipient.partition("@")[0], "250 OK"
        )

    relay.on_recipient = refuses
    await tenant.launch("bad@example.com", "full@example.com", "good@example.com")
    await tenant.deliver(worker)
    found = await tenant.rows(FINDINGS)
    assert {(finding.kind, finding.rule, finding.source, finding.report_id) for finding in found} == {
        ("hard", "bad_mailbox", "smtp", None),
        ("soft", "full", "smtp", None),
    }
    (entry,) = await tenant.rows("SELECT rule, source FROM suppressions")
    assert tuple(entry) == ("bad_mailbox", "smtp")


async def test_reports_are_forgotten_when_they_are_too_old(
    tenant: Tenant,
    recipient: Recipient,
    kept: KeptReports,
    owner_database_url: Callable[[str], str],
) -> None:
    await recipient.report("postfix_user_unknown")
    (finding,) = await tenant.rows(FINDINGS)
    forgetting = Forgetting(kept, timedelta(days=30))
    await forgetting.round()
    assert len(await kept.of([finding.report_id])) == 1
    with psycopg.connect(owner_database_url("sending")) as owner:
        owner.execute(
            "UPDATE sending.feedback_reports SET received_at = received_at - interval '31 days' WHERE id = %s",
            (finding.report_id,),
        )
    await forgetting.round()
    assert await kept.of([finding.report_id]) == []
    assert await tenant.rows(FINDINGS) == [finding]


@pytest.fixture
async def readers(
    tenant: Tenant, stranger: Tenant, worker: Worker, intake: Intake, settings: DeliverySettings
) -> list[Recipient]:
    """Some people of two organizations, those of each one after the other."""
    sent: list[Recipient] = []
    for sender in (tenant, stranger):
        await sender.launch(*(f"reader{number}@example.com" for number in range(6)))
        await sender.deliver(worker)
        rows = await sender.rows("SELECT id FROM messages ORDER BY id")
        sent += [Recipient(sender, intake, settings, row.id) for row in rows]
    return sent


async def made_due(scheduler: RoleDatabase, *report_ids: UUID) -> list[UUID]:
    """Let those of some reports that wait to be processed wait no longer; answers them in the order in which they came."""
    wait_no_longer = text("""
        UPDATE sending.feedback_reports SET due_at = now() WHERE due_at IS NOT NULL AND id = ANY(:ids) RETURNING id
    """)
    async with scheduler.transaction() as connection:
        return sorted((await connection.execute(wait_no_longer, {"ids": list(report_ids)})).scalars())


async def test_reports_that_come_at_once_have_each_its_effect_and_share_commits(
    tenant: Tenant, stranger: Tenant, readers: list[Recipient], scheduler: RoleDatabase
) -> None:
    names = ("postfix_user_unknown", "gmail_over_quota", "arf_yahoo")
    # Some of them twice.
    told = [(recipient, name) for recipient in readers for name in names] + [
        (recipient, "postfix_user_unknown") for recipient in readers
    ]
    await asyncio.gather(*(recipient.report(name) for recipient, name in told))
    for organization in (tenant, stranger):
        assert set((await organization.statuses()).values()) == {"bounced"}
        kinds = await organization.rows("SELECT kind, count(*) FROM feedback_findings GROUP BY 1 ORDER BY 1")
        assert [tuple(row) for row in kinds] == [("complaint", 6), ("hard", 6), ("soft", 6)]
        assert sorted(reason for _, reason in await listed(organization)) == 6 * [HARD[0][1]] + 6 * [
            COMPLAINT[0][1]
        ]
        settled = await organization.published(MessagesSettled)
        returned = [event for event in settled if event.outcomes[0].superseded_status]
        assert sum(len(event.outcomes) for event in returned) == 6
        assert len(returned) < 6
        found = await organization.rows("SELECT DISTINCT report_id FROM feedback_findings")
        assert not await made_due(scheduler, *(row.report_id for row in found))


async def test_each_complaint_of_an_address_is_told_when_they_come_at_once(
    tenant: Tenant, worker: Worker, intake: Intake, settings: DeliverySettings
) -> None:
    for _ in range(3):
        await tenant.launch("reader@example.com")
        await tenant.deliver(worker)
    rows = await tenant.rows("SELECT id FROM messages ORDER BY id")
    await asyncio.gather(*(Recipient(tenant, intake, settings, row.id).report("arf_rfc5965") for row in rows))
    assert await listed(tenant) == COMPLAINT
    told = await tenant.published(AddressesSuppressed)
    addresses = [address.message_id for event in told for address in event.addresses]
    assert sorted(addresses) == sorted(str(row.id) for row in rows)


class Misreading(Intake):
    """Reads in one mail what cannot be stored, and fails over another."""

    def read(self, report: Report) -> Sequence[Told]:
        """As it ought to be, but for those."""
        if b"unreadable" in report.content:
            raise LookupError
        told = super().read(report)
        if b"misread" in report.content:
            return [replace(each, finding=replace(each.finding, diagnosis="\0")) for each in told]
        return told


async def test_a_report_that_fails_takes_none_of_its_companions_along_and_is_processed_later(
    *,
    tenant: Tenant,
    worker: Worker,
    database: Database,
    settings: DeliverySettings,
    intake: Intake,
    kept: KeptReports,
    scheduler: RoleDatabase,
) -> None:
    await tenant.launch(*(f"reader{number}@example.com" for number in range(8)))
    await tenant.deliver(worker)
    paths = ReturnPaths(settings.link_keys)
    content = mail_named("postfix_user_unknown").content
    reports = []
    for row in await tenant.rows("SELECT id FROM messages ORDER BY id"):
        to = paths.address(tenant.context.organization, row.id, "mail.test")
        reports.append(Report(new_id(), [to], content))
    misread, unreadable, unstorable = 3, 5, 6
    reports[misread] = replace(reports[misread], content=content + b"misread")
    reports[unreadable] = replace(reports[unreadable], content=content + b"unreadable")
    reports[unstorable] = replace(reports[unstorable], rcpt_to=["\0", *reports[unstorable].rcpt_to])
    misreading = Misreading(database, Origins(settings.link_keys))
    answers = await asyncio.gather(*map(misreading.take, reports), return_exceptions=True)
    await misreading.finish()
    # What is not kept is told to its sender; what is kept is not.
    assert [place for place, answer in enumerate(answers) if isinstance(answer, Exception)] == [unstorable]
    statuses = list((await tenant.statuses()).values())
    failed = [place for place, status in enumerate(statuses) if status != "bounced"]
    assert failed == [misread, unreadable, unstorable]
    waiting = [reports[misread].id, reports[unreadable].id]
    assert await made_due(scheduler, *(report.id for report in reports)) == waiting
    await Sweep(kept, intake).round()
    statuses = list((await tenant.statuses()).values())
    assert [place for place, status in enumerate(statuses) if status != "bounced"] == [unstorable]


async def test_a_report_about_messages_of_several_organizations_is_done_with_when_all_of_them_are(
    *,
    tenant: Tenant,
    stranger: Tenant,
    readers: list[Recipient],
    intake: Intake,
    kept: KeptReports,
    scheduler: RoleDatabase,
) -> None:
    first, last = readers[0], readers[-1]
    for organization in (tenant, stranger):
        await organization.rows("UPDATE messages SET status = 'queued', settled_at = NULL")
    report = Report(
        new_id(), [first.return_path, last.return_path], mail_named("postfix_user_unknown").content
    )
    await (await intake.take(report))
    for organization, recipient in ((tenant, first), (stranger, last)):
        assert await made_due(scheduler, report.id) == [report.id]
        await organization.rows(
            "UPDATE messages SET status = 'sent', settled_at = now() WHERE id = :id", id=recipient.message_id
        )
        await Sweep(kept, intake).round()
    assert not await made_due(scheduler, report.id)
    for organization in (tenant, stranger):
        assert list((await organization.statuses()).values()).count("bounced") == 1


async def only(report: Report) -> AsyncIterator[Report]:
    yield report


async def test_reports_are_read_anew_by_the_rules_of_today(
    tenant: Tenant, recipient: Recipient, intake: Intake, kept: KeptReports, database: Database
) -> None:
    await recipient.report("postfix_user_unknown")
    (finding,) = await tenant.rows(FINDINGS)
    (report,) = await kept.of([finding.report_id])
    # As a wrong rule would have had it.
    await tenant.rows("UPDATE feedback_findings SET kind = 'soft', rule = 'wrong'")
    await tenant.rows("DELETE FROM suppressions")
    reprocessing = Reprocessing(database, intake)
    assert await reprocessing.preview(only(report)) == {Change("soft", "hard"): 1}
    assert [found.kind for found in await tenant.rows(FINDINGS)] == ["soft"]
    assert await reprocessing.apply(only(report)) == {Change("soft", "hard"): 1}
    assert [(found.kind, found.rule) for found in await tenant.rows(FINDINGS)] == [("hard", "bad_mailbox")]
    assert await listed(tenant) == HARD
    assert await reprocessing.apply(only(report)) == {Change("hard", "hard"): 1}
