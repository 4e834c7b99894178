"""A wrong rule's suppressions are taken back, exactly those."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from chassis.database import Database, RoleDatabase
from chassis.identifiers import new_id
from flownurture.suppression.v1.events_pb2 import SuppressionsLifted, SuppressionsRolledBack
from services.sending.bounces import Kind
from services.sending.feedback.roll_back import Mistake, RollBack
from services.sending.findings import Noted, note_findings
from services.sending.statuses import SuppressionReason
from services.sending.suppression_list import Suppressed, suppress
from services.sending.tests.tenant import Tenant


@pytest.fixture
def roll_back(database: Database, scheduler: RoleDatabase) -> RollBack:
    return RollBack(database, scheduler)


async def bounced(tenant: Tenant, *findings: tuple[str, str, str]) -> None:
    """Put addresses on the list as hard bounces by rules of sources."""
    for email, rule, source in findings:
        message = await tenant.rows(
            "SELECT id, email, email_digest FROM messages WHERE email = :email", email=email
        )
        queued = message[0] if message else await _queued(tenant, email)
        digest = bytes(queued.email_digest)
        async with tenant.database.tenant_transaction(tenant.context) as session:
            await note_findings(session, [Noted(queued.id, digest, Kind.HARD, "", rule, source)])
            entry = Suppressed(
                digest, SuppressionReason.HARD_BOUNCE, email, message_id=queued.id, rule=rule, source=source
            )
            await suppress(session, [entry])


async def _queued(tenant: Tenant, email: str) -> Any:
    await tenant.message(email)
    (queued,) = await tenant.rows(
        "SELECT id, email, email_digest FROM messages WHERE email = :email", email=email
    )
    return queued


async def listed(tenant: Tenant) -> Sequence[tuple[str, str]]:
    rows = await tenant.rows("SELECT email, reason FROM suppressions ORDER BY email, reason")
    return [tuple(row) for row in rows]


async def test_what_one_rule_caused_is_previewed_and_taken_back_and_nothing_else(
    tenant: Tenant, stranger: Tenant, roll_back: RollBack
) -> None:
    rule = f"wrong_{tenant.context.organization}"
    await bounced(
        tenant,
        ("a@example.com", rule, "dsn"),
        ("b@example.com", rule, "smtp"),
        ("c@example.com", "bad_mailbox", "dsn"),
    )
    await bounced(stranger, ("a@example.com", rule, "dsn"))
    mistake = Mistake(rule=rule)
    counts = {tenant.context.organization: 2, stranger.context.organization: 1}
    assert await roll_back.preview(mistake) == counts
    assert len(await listed(tenant)) == 3
    assert await roll_back.apply(mistake) == counts
    assert await listed(tenant) == [("c@example.com", "hard_bounce")]
    assert await listed(stranger) == []
    (lifted,) = await tenant.published(SuppressionsLifted)
    assert len(lifted.addresses) == 2
    (told,) = await tenant.published(SuppressionsRolledBack)
    assert (told.entries, told.rule, told.source, told.actor.id) == (2, rule, "", "feedback")
    assert not told.HasField("since")
    assert await roll_back.apply(mistake) == {}
    assert len(await tenant.published(SuppressionsRolledBack)) == 1


async def test_one_source_or_time_of_it_can_be_taken_back_alone(tenant: Tenant, roll_back: RollBack) -> None:
    rule = f"wrong_{tenant.context.organization}"
    await bounced(tenant, ("a@example.com", rule, "dsn"), ("b@example.com", rule, "smtp"))
    now = datetime.now(UTC)
    assert await roll_back.preview(Mistake(rule=rule, until=now - timedelta(hours=1))) == {}
    assert await roll_back.preview(Mistake(rule=rule, since=now + timedelta(hours=1))) == {}
    await roll_back.apply(Mistake(rule=rule, source="smtp", since=now - timedelta(hours=1)))
    assert await listed(tenant) == [("a@example.com", "hard_bounce")]


async def test_what_one_reporter_told_can_be_taken_back_alone(tenant: Tenant, roll_back: RollBack) -> None:
    rule = f"wrong_{tenant.context.organization}"
    for email, reporter in (("a@example.com", "mx.broken.test"), ("b@example.com", "mx.sound.test")):
        queued, report_id = await _queued(tenant, email), new_id()
        digest = bytes(queued.email_digest)
        found = Noted(queued.id, digest, Kind.HARD, "", rule, "dsn", reporter, report_id)
        reason = SuppressionReason.HARD_BOUNCE
        async with tenant.database.tenant_transaction(tenant.context) as session:
            await note_findings(session, [found])
            entry = Suppressed(
                digest,
                reason,
                email,
                message_id=queued.id,
                rule=rule,
                source="dsn",
                report_id=report_id,
            )
            await suppress(session, [entry])
    mistake = Mistake(rule=rule, reporter="mx.broken.test")
    assert await roll_back.preview(mistake) == {tenant.context.organization: 1}
    await roll_back.apply(mistake)
    assert await listed(tenant) == [("b@example.com", "hard_bounce")]


async def test_what_a_person_said_stays(tenant: Tenant, roll_back: RollBack) -> None:
    rule = f"wrong_{tenant.context.organization}"
    await bounced(tenant, ("a@example.com", rule, "dsn"))
    (entry,) = await tenant.rows("SELECT email_digest FROM suppressions")
    said = (SuppressionReason.UNSUBSCRIBE, SuppressionReason.COMPLAINT)
    async with tenant.database.tenant_transaction(tenant.context) as session:
        await suppress(
            session,
            [
                Suppressed(bytes(entry.email_digest), reason, "a@example.com", rule=rule, source="arf")
                for reason in said
            ],
        )
    await roll_back.apply(Mistake(rule=rule))
    assert await listed(tenant) == [("a@example.com", "complaint"), ("a@example.com", "unsubscribe")]


async def test_an_address_that_another_bounce_proves_bad_stays(tenant: Tenant, roll_back: RollBack) -> None:
    rule = f"wrong_{tenant.context.organization}"
    messages = {(await tenant.message("a@example.com")).id for _ in range(2)}
    await bounced(tenant, ("a@example.com", rule, "dsn"))
    (entry,) = await tenant.rows("SELECT email_digest, message_id FROM suppressions")
    (other,) = messages - {str(entry.message_id)}
    async with tenant.database.tenant_transaction(tenant.context) as session:
        sound = Noted(UUID(other), bytes(entry.email_digest), Kind.HARD, "5.1.1", "bad_mailbox", "smtp")
        await note_findings(session, [sound])
    assert await roll_back.apply(Mistake(rule=rule)) == {tenant.context.organization: 0}
    assert await listed(tenant) == [("a@example.com", "hard_bounce")]
