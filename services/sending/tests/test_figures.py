"""What operators see of mail on its way: how much of it, what came of it, how long it took, and whose it was."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import TextClause, text

from chassis.database import RoleDatabase
from flownurture.sending.v1 import messages_pb2
from flownurture.suppression.v1 import suppressions_pb2
from services.sending import batches
from services.sending.delivery import busiest
from services.sending.delivery.busiest import Busiest
from services.sending.delivery.worker import Worker
from services.sending.feedback.intake import Intake
from services.sending.feedback.reports import Report
from services.sending.suppression import veto
from services.sending.suppression.deciding import deciding_together
from services.sending.tests.post import Post
from services.sending.tests.relay import MailRelay
from services.sending.tests.tenant import Tenant
from services.sending.workflows.runner import DUE


def figure(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


@contextmanager
def counting(name: str, *, by: int, **labels: str) -> Iterator[None]:
    """A counter with these labels goes up by so much."""
    before = figure(name, **labels)
    yield
    assert figure(name, **labels) - before == by


async def suppress(tenant: Tenant, email: str) -> None:
    reason = messages_pb2.SUPPRESSION_REASON_MANUAL
    await tenant(suppressions_pb2.CreateSuppressionRequest(email=email, reason=reason))


async def test_each_stage_counts_what_became_of_messages(
    tenant: Tenant, worker: Worker, relay: MailRelay
) -> None:
    async def refuses(recipient: str) -> str:
        return "550 5.1.1 no such user" if recipient.startswith("bad") else "250 OK"

    relay.on_recipient = refuses
    await suppress(tenant, "before@example.com")
    await tenant.launch(*(f"{who}@example.com" for who in ("before", "between", "bad", "good")))
    await tenant.release()
    (batch,) = [row.id for row in await tenant.rows("SELECT id FROM batches")]
    with (
        counting("flownurture_messages_total", stage="decided", outcome="approved", by=3),
        counting("flownurture_messages_total", stage="decided", outcome="manual", by=1),
    ):
        await deciding_together(tenant.database).work_on(tenant.context, batch)
    with counting("flownurture_suppressions_total", reason="manual", by=1):
        await suppress(tenant, "between@example.com")
    with (
        counting("flownurture_messages_total", stage="claimed", outcome="taken", by=2),
        counting("flownurture_messages_total", stage="claimed", outcome="manual", by=1),
        counting("flownurture_messages_total", stage="settled", outcome="sent", by=1),
        counting("flownurture_messages_total", stage="settled", outcome="bounced", by=1),
        counting("flownurture_suppressions_total", reason="hard_bounce", by=1),
        counting("flownurture_delivery_delay_seconds_count", kind="mailing", by=2),
    ):
        await worker.deliver(tenant.context, batch)


async def test_the_delay_of_a_message_is_that_of_its_first_attempt(
    tenant: Tenant, worker: Worker, relay: MailRelay
) -> None:
    async def later(_: str) -> str:
        return "451 4.2.2 later"

    relay.on_recipient = later
    await tenant.message("reader@example.com")
    with (
        counting("flownurture_delivery_delay_seconds_count", kind="single", by=1),
        counting("flownurture_messages_total", stage="settled", outcome="deferred", by=1),
    ):
        await tenant.deliver(worker)
    await tenant.rows("UPDATE messages SET next_attempt_at = now()")
    with (
        counting("flownurture_delivery_delay_seconds_count", kind="single", by=0),
        counting("flownurture_messages_total", stage="settled", outcome="deferred", by=1),
    ):
        await tenant.deliver(worker)


async def test_a_delivery_process_shows_whether_it_may_claim(post: Post) -> None:
    assert figure("flownurture_delivery_lease_held") == 1
    post.lease._good_until = 0.0
    assert figure("flownurture_delivery_lease_held") == 0


async def test_a_report_that_comes_again_is_counted_as_known(intake: Intake) -> None:
    report = Report.of_post("ses", uuid4().bytes)
    with counting("flownurture_feedback_reports_total", source="ses", outcome="kept", by=1):
        await intake.take(report)
    with counting("flownurture_feedback_reports_total", source="ses", outcome="known", by=1):
        await intake.take(report)
    await intake.finish()


async def test_batches_that_nobody_comes_for_are_shown_with_how_long_they_have_waited(
    tenant: Tenant,
) -> None:
    async def overdue(query: TextClause) -> tuple[str, int, float]:
        # In one transaction: nobody else's sweep comes for them meanwhile.
        async with tenant.database.tenant_transaction(tenant.context) as session:
            await session.execute(text("UPDATE batches SET due_at = now() - interval '1 hour'"))
            found: list[Any] = list((await session.execute(query)).one())
            await session.execute(text("UPDATE batches SET due_at = now() + interval '1 hour'"))
        return found[0], found[1], float(found[2])

    await tenant.launch("reader@example.com")
    await tenant.release()
    part, items, oldest = await overdue(veto.OVERDUE)
    assert (part, items) == ("decision", 1)
    assert oldest >= 3_600
    assert (await overdue(batches.OVERDUE))[:2] == ("delivery", 0)
    await tenant.approve()
    assert (await overdue(veto.OVERDUE))[:2] == ("decision", 0)
    part, items, oldest = await overdue(batches.OVERDUE)
    assert (part, items) == ("delivery", 1)
    assert oldest >= 3_600


async def test_who_is_due_in_a_workflow_can_be_counted(scheduler: RoleDatabase) -> None:
    async with scheduler.transaction() as connection:
        ((part, items, oldest),) = (await connection.execute(DUE)).all()
    assert part == "due"
    assert items >= 0
    assert oldest >= 0


def shown(figures: Busiest) -> dict[str, float]:
    (family,) = figures.collect()
    return {sample.labels["organization"]: sample.value for sample in family.samples}


async def test_ten_organizations_are_shown_however_many_send(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000.0
    monkeypatch.setattr(busiest, "monotonic", lambda: now)
    figures = Busiest()
    large = {UUID(int=number): 1_000 + number for number in range(12)}
    for _ in range(10):
        for organization, messages in large.items():
            figures.count(organization, messages // 10)
        for _ in range(500):
            figures.count(uuid4(), 1)
    assert shown(figures) == {}
    now += 301
    assert len(shown(figures)) == 10
    assert shown(figures).keys() <= {str(organization) for organization in large}
    now += 301
    assert shown(figures) == {}
