"""Nobody is suppressed by a mail without a genuine token, whatever it says; and the listener takes each that its sender can say."""

from collections.abc import AsyncIterator
from uuid import UUID

import pytest
from aiosmtplib import SMTP
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chassis.database import Database
from chassis.identifiers import new_id
from services.sending.bounces import Kind
from services.sending.delivery.settings import DeliverySettings
from services.sending.delivery.worker import Worker
from services.sending.feedback.intake import Intake
from services.sending.feedback.listener import FeedbackListener
from services.sending.feedback.mail import Mail
from services.sending.feedback.opt_outs import OptOuts
from services.sending.feedback.reports import Report
from services.sending.feedback.tests.broken_mail import MAILS, broken_mail, forged_tokens
from services.sending.feedback.understanding import understand
from services.sending.signed_addresses import ReturnPaths, UnsubscribeAddresses
from services.sending.tests.tenant import Tenant

FUZZED = settings(
    # Each waits for its set, and for what became of it.
    max_examples=MAILS // 10 or 40,
    deadline=None,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.function_scoped_fixture,
    ],
)


@pytest.fixture
async def message_id(tenant: Tenant, worker: Worker) -> UUID:
    await tenant.launch("reader@example.com")
    await tenant.deliver(worker)
    (message,) = await tenant.rows("SELECT id FROM messages")
    return UUID(str(message.id))


@pytest.fixture
async def client(database: Database, settings: DeliverySettings, intake: Intake) -> AsyncIterator[SMTP]:
    opt_outs = OptOuts(database, UnsubscribeAddresses(settings.link_keys))
    async with (
        FeedbackListener(intake, opt_outs, "127.0.0.1:0") as listener,
        SMTP(hostname="127.0.0.1", port=listener.port, start_tls=False) as client,
    ):
        yield client


async def outcome(tenant: Tenant) -> tuple[list[str], list[str], dict[str, str]]:
    """Reasons on the list, kinds of findings, and the messages' statuses."""
    reasons = await tenant.rows("SELECT reason FROM suppressions ORDER BY reason")
    kinds = await tenant.rows("SELECT kind FROM feedback_findings ORDER BY kind")
    return [row.reason for row in reasons], [row.kind for row in kinds], await tenant.statuses()


@FUZZED
@given(content=broken_mail(), token=st.data())
async def test_no_mail_to_a_forged_token_changes_anything(
    *,
    tenant: Tenant,
    message_id: UUID,
    client: SMTP,
    intake: Intake,
    settings: DeliverySettings,
    content: bytes,
    token: st.DataObject,
) -> None:
    genuine = ReturnPaths(settings.link_keys).address(tenant.context.organization, message_id, "").rstrip("@")
    forged = token.draw(forged_tokens(genuine))
    await client.mail("")
    await client.rcpt(f"{forged or 'bounces'}@mail.test")
    assert (await client.data(content)).code == 250
    await intake.finish()
    assert await outcome(tenant) == ([], [], {"reader@example.com": "sent"})


@FUZZED
@given(content=broken_mail())
async def test_a_mail_to_a_genuine_token_has_the_effect_that_it_is_understood_to_have(
    tenant: Tenant, message_id: UUID, intake: Intake, settings: DeliverySettings, content: bytes
) -> None:
    await tenant.rows("DELETE FROM feedback_findings")
    await tenant.rows("DELETE FROM suppressions WHERE reason = 'hard_bounce'")
    before = await outcome(tenant)
    to = ReturnPaths(settings.link_keys).address(tenant.context.organization, message_id, "mail.test")
    await (await intake.take(Report(new_id(), [to], content)))
    finding = understand(Mail(content))
    reasons, kinds, _ = await outcome(tenant)
    assert kinds == ([finding.kind.value] if finding.counts else [])
    assert ("hard_bounce" in reasons) == (finding.kind is Kind.HARD)
    assert "complaint" in reasons or finding.kind is not Kind.COMPLAINT
    assert finding.kind is Kind.COMPLAINT or ("complaint" in reasons) == ("complaint" in before[0])
