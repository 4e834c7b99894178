"""Who comes after a delivery process that was killed knows what it had begun, and repeats nothing of it."""

from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest

from chassis.database import Database, RoleDatabase
from services.sending.bounces import Classification, Kind
from services.sending.delivery.claims import Claimed, claim
from services.sending.delivery.journal import Journal
from services.sending.delivery.leases import Lease
from services.sending.delivery.recovery import Recovery
from services.sending.delivery.replies import Verdict
from services.sending.delivery.sweep import Sweep
from services.sending.delivery.worker import Worker
from services.sending.statuses import MessageStatus
from services.sending.tests.relay import MailRelay
from services.sending.tests.tenant import Tenant

SENT = Verdict(MessageStatus.SENT, "250 2.0.0 OK")
NOBODY = Verdict(
    MessageStatus.BOUNCED, "550 5.1.1 nobody", classified=Classification(Kind.HARD, "bad_mailbox")
)


@pytest.fixture
def remains(tmp_path: Path) -> Path:
    folder = tmp_path / "remains"
    folder.mkdir()
    return folder


@pytest.fixture
def recovery(database: Database, scheduler: RoleDatabase, remains: Path) -> Recovery:
    return Recovery(database, scheduler, remains)


@dataclass(frozen=True)
class Dying:
    """A process that claims, begins and dies, and leaves no more than its journal."""

    folder: Path
    scheduler: RoleDatabase

    async def die(self, tenant: Tenant, begun: dict[str, Verdict | None]) -> None:
        """Claim all of a tenant's batches, and begin those messages; each is answered or is not."""
        async with Journal(self.folder / "alive") as journal, Lease(self.scheduler, journal) as lease:
            token = lease.token
            assert token is not None
            for batch in await tenant.rows("SELECT id FROM batches"):
                async with tenant.database.tenant_transaction(tenant.context) as session:
                    claimed = await claim(session, [batch.id], token)
                for message in claimed.messages:
                    if message.email in begun:
                        self._begin(journal, message, begun[message.email])
            (self.folder / "0.journal").write_bytes((self.folder / "alive" / "0.journal").read_bytes())

    def _begin(self, journal: Journal, message: Claimed, answer: Verdict | None) -> None:
        place = journal.begin(message.id, message.token)
        if answer is not None:
            journal.answered(place, answer)


@pytest.fixture
def dying(remains: Path, scheduler: RoleDatabase) -> Dying:
    return Dying(remains, scheduler)


async def test_the_answered_is_settled_the_begun_in_doubt_and_the_rest_goes_out(
    tenant: Tenant, recovery: Recovery, dying: Dying, worker: Worker, relay: MailRelay
) -> None:
    campaign = await tenant.launch(*(f"reader{number}@example.com" for number in range(30)))
    await tenant.approve()
    begun = {
        "reader1@example.com": SENT,
        "reader2@example.com": NOBODY,
        "reader3@example.com": None,
    }
    await dying.die(tenant, begun)
    await recovery.round()
    settled = {email: status for email, status in (await tenant.statuses()).items() if status != "queued"}
    assert settled == {
        "reader1@example.com": "sent",
        "reader2@example.com": "bounced",
        "reader3@example.com": "indeterminate",
    }
    suppressed = await tenant.rows("SELECT email, reason FROM suppressions")
    assert [(row.email, row.reason) for row in suppressed] == [("reader2@example.com", "hard_bounce")]
    await tenant.deliver(worker)
    assert len(relay.handed_over) == 27
    assert not begun.keys() & relay.handed_over.keys()
    report = await tenant.report(campaign)
    assert (report.sent, report.bounced, report.indeterminate) == (28, 1, 1)


async def test_a_single_message_that_was_begun_goes_again(
    tenant: Tenant, recovery: Recovery, dying: Dying
) -> None:
    await tenant.message("customer@example.com")
    await tenant.approve()
    await dying.die(tenant, {"customer@example.com": None})
    await recovery.round()
    assert await tenant.statuses() == {"customer@example.com": "deferred"}


async def test_what_others_have_settled_meanwhile_stays_as_they_said(
    tenant: Tenant, recovery: Recovery, dying: Dying
) -> None:
    await tenant.launch("reader@example.com")
    await tenant.approve()
    await dying.die(tenant, {"reader@example.com": SENT})
    await tenant.rows("UPDATE messages SET status = 'indeterminate', settled_at = now()")
    await tenant.rows("UPDATE batches SET lease_token = NULL, leased_at = NULL")
    await recovery.round()
    assert await tenant.statuses() == {"reader@example.com": "indeterminate"}


async def test_a_lease_that_ran_out_may_be_renewed_until_its_holder_is_declared_dead(
    scheduler: RoleDatabase, tmp_path: Path, scheduler_sweep: Sweep
) -> None:
    async with Journal(tmp_path) as journal, Lease(scheduler, journal) as lease:
        token = lease.token
        assert token is not None
        await expire(scheduler, token, "20 seconds")
        await scheduler_sweep.dead.round()
        await lease.renew()
        assert lease.token == token
        await expire(scheduler, token, "110 seconds")
        await scheduler_sweep.dead.round()
        await lease.renew()
        assert lease.token not in (token, None)


async def expire(scheduler: RoleDatabase, token: UUID, ago: str) -> None:
    async with scheduler.transaction() as connection:
        await connection.exec_driver_sql(
            "UPDATE sending.delivery_leases SET expires_at = now() - %s::interval WHERE token = %s",
            (ago, token),
        )


async def test_whatever_a_relay_replies_its_result_is_written(
    tenant: Tenant, worker: Worker, relay: MailRelay
) -> None:
    async def babbles(_: str) -> str:
        return "550 5.7.1 \0 \ud800 \x85 no".encode("utf-8", "surrogatepass").decode("latin-1")

    relay.on_message = babbles
    await tenant.launch("reader@example.com")
    await tenant.deliver(worker)
    assert await tenant.statuses() == {"reader@example.com": "bounced"}
