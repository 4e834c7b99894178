"""What operators see of mail on its way: how much of it, what came of it, how long it took, and whose it was."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID, uuid4

import pytest
from prometheus_client import REGISTRY

from chassis.database import RoleDatabase
from chassis.soundings import Soundings
from flownurture.sending.v1 import messages_pb2
from flownurture.suppression.v1 import suppressions_pb2
from services.sending import batches
from services.sending.delivery import busiest
from services.sending.delivery.busiest import Busiest
from services.sending.delivery.sweep import Sweep
from services.sending.delivery.worker import Worker
from services.sending.suppression import veto
from services.sending.suppression.deciding import deciding_together
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


async def test_batches_that_nobody_comes_for_are_shown_with_how_long_they_have_waited(
    tenant: Tenant, scheduler: RoleDatabase, scheduler_sweep: Sweep
) -> None:
    await tenant.launch("reader@example.com")
    await tenant.release()
    await tenant.rows("UPDATE batches SET due_at = now() - interval '1000 days'")
    await Soundings(scheduler, {"batches": veto.OVERDUE}).round()
    assert figure("flownurture_backlog_oldest_seconds", kind="batches", part="decision") >= 86_400_000
    await tenant.approve()
    await tenant.rows("UPDATE batches SET due_at = now() - interval '1000 days'")
    await Soundings(scheduler, {"batches": batches.OVERDUE}).round()
    assert figure("flownurture_backlog_oldest_seconds", kind="batches", part="delivery") >= 86_400_000
    await tenant.rows("UPDATE batches SET due_at = now() + interval '1000 days'")


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
