"""An organization's campaigns keep to its quiet hours, and its marketing to its frequency cap."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from chassis.database import Database, RoleDatabase
from chassis.email_address import EmailAddress
from chassis.errors import FailedPrecondition, InvalidRequest
from chassis.identifiers import new_id
from chassis.tests.deadlines import until
from flownurture.sending.v1 import campaigns_pb2, messages_pb2
from flownurture.sending.v1 import sending_policy_pb2 as pb
from services.sending.batches import BATCHES_TO_DELIVER
from services.sending.delivery.claims import claim
from services.sending.delivery.worker import Worker
from services.sending.dispatch import Dispatch
from services.sending.erasure import forget
from services.sending.frequency_cap import FrequencyCap, PlaceRetention, take_places
from services.sending.quiet_hours import QuietHoursWatch
from services.sending.suppression.veto import decide
from services.sending.tests.relay import MailRelay
from services.sending.tests.tenant import Tenant

READER, OTHER = "reader@example.com", "other@example.com"
DIGEST = EmailAddress.parse(READER).digest


def quiet_for(hours: float = 3) -> pb.QuietHours:
    """Quiet hours that are now, in UTC."""
    now = datetime.now(UTC)
    begin, end = now - timedelta(hours=1), now + timedelta(hours=hours)
    return pb.QuietHours(**{"from": f"{begin:%H:%M}", "until": f"{end:%H:%M}"})


async def keep_to(
    tenant: Tenant, *, quiet: pb.QuietHours | None = None, cap: tuple[int, int] | None = None
) -> pb.SendingPolicy:
    kept = pb.FrequencyCap(messages=cap[0], days=cap[1]) if cap else None
    policy: pb.SendingPolicy = await tenant(pb.SetSendingPolicyRequest(quiet_hours=quiet, frequency_cap=kept))
    return policy


async def campaign(tenant: Tenant, campaign_id: str) -> campaigns_pb2.Campaign:
    found: campaigns_pb2.Campaign = await tenant(campaigns_pb2.GetCampaignRequest(campaign_id=campaign_id))
    return found


async def requested(tenant: Tenant, *emails: str) -> UUID:
    """A batch of a campaign of its own that waits for its decision."""
    launched = await tenant.launch(*emails)
    await tenant.release()
    (row,) = await tenant.rows("SELECT id FROM batches WHERE campaign_id = :id", id=UUID(launched))
    return UUID(str(row.id))


async def decide_on(tenant: Tenant, *batch_ids: UUID) -> None:
    async with tenant.database.tenant_transaction(tenant.context) as session:
        await decide(session, *batch_ids)


async def take(
    tenant: Tenant, *ids: UUID, cap: tuple[int, int], moment: datetime | None = None
) -> dict[UUID, datetime]:
    async with tenant.database.tenant_transaction(tenant.context) as session:
        wanted = dict.fromkeys(ids, DIGEST)
        return dict(await take_places(session, FrequencyCap(*cap), wanted, moment or datetime.now(UTC)))


async def fates(tenant: Tenant) -> list[tuple[str, str | None]]:
    return [
        (row.status, row.veto_reason)
        for row in await tenant.rows("SELECT status, veto_reason FROM messages ORDER BY id")
    ]


async def test_a_policy_that_was_never_set_holds_up_nothing(tenant: Tenant) -> None:
    assert await tenant(pb.GetSendingPolicyRequest()) == pb.SendingPolicy(time_zone="UTC")


async def test_a_policy_is_replaced_as_a_whole_however_often_it_is_set(
    tenant: Tenant, stranger: Tenant
) -> None:
    wanted: dict[str, Any] = {
        "time_zone": "Europe/Berlin",
        "quiet_hours": pb.QuietHours(**{"from": "21:00", "until": "08:00"}),
        "frequency_cap": pb.FrequencyCap(messages=3, days=7),
    }
    for _ in range(2):
        await tenant(pb.SetSendingPolicyRequest(**wanted))
        found = await tenant(pb.GetSendingPolicyRequest())
        found.ClearField("quiet_until")
        assert found == pb.SendingPolicy(**wanted)
    assert await tenant(pb.SetSendingPolicyRequest()) == pb.SendingPolicy(time_zone="UTC")
    assert await stranger(pb.GetSendingPolicyRequest()) == pb.SendingPolicy(time_zone="UTC")


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"time_zone": "Mars/Olympus"}, "time_zone"),
        ({"quiet_hours": {"from": "9:00", "until": "10:00"}}, "quiet_hours.from"),
        ({"quiet_hours": {"from": "09:00", "until": "24:00"}}, "quiet_hours.until"),
        ({"quiet_hours": {"from": "09:00", "until": "09:00"}}, "quiet_hours.until"),
        ({"quiet_hours": {"from": "09:00"}}, "quiet_hours.until"),
        ({"frequency_cap": {"messages": 101, "days": 1}}, "frequency_cap.messages"),
        ({"frequency_cap": {"messages": 1}}, "frequency_cap.days"),
        ({"frequency_cap": {"messages": 1, "days": 91}}, "frequency_cap.days"),
    ],
)
async def test_a_policy_that_makes_no_sense_is_refused_by_field(
    tenant: Tenant, wrong: Any, field: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await tenant(pb.SetSendingPolicyRequest(**wrong))
    assert [violation.field for violation in refused.value.violations] == [field]


async def test_in_quiet_hours_a_campaign_waits_says_so_and_goes_on_once_there_are_none(
    tenant: Tenant, worker: Worker, relay: MailRelay, scheduler: RoleDatabase
) -> None:
    policy = await keep_to(tenant, quiet=quiet_for())
    launched = await tenant.launch(READER)
    assert (await campaign(tenant, launched)).quiet_until == policy.quiet_until
    await tenant.deliver(worker)
    assert await tenant.rows("SELECT id FROM batches WHERE status <> 'held'") == []
    await keep_to(tenant)
    assert not (await campaign(tenant, launched)).HasField("quiet_until")
    await tenant.deliver(worker)
    assert relay.handed_over == {READER: 1}


async def test_what_was_approved_before_they_began_is_neither_claimed_nor_looked_for_until_they_are_over(
    tenant: Tenant, scheduler: RoleDatabase, database: Database
) -> None:
    await tenant.launch(READER)
    (batch,) = await tenant.approve()
    await keep_to(tenant, quiet=quiet_for())

    async def claimed() -> list[UUID]:
        async with tenant.database.tenant_transaction(tenant.context) as session:
            return list((await claim(session, [batch], new_id())).batch_ids)

    async def looked_for() -> bool:
        async with scheduler.transaction() as connection:
            return batch in [row.id for row in await connection.execute(BATCHES_TO_DELIVER)]

    await tenant.rows("UPDATE batches SET due_at = 'epoch'")
    assert (await claimed(), await looked_for()) == ([], False)
    # As time passes: they are over, and the next are known.
    await tenant.rows("""
        UPDATE sending_policies
        SET quiet_begins_at = now() - interval '2 s', quiet_ends_at = now() - interval '1 s', quiet_from = '00:00', quiet_until = '00:01'
    """)
    assert await looked_for()
    await QuietHoursWatch(database, scheduler).round()
    ((begins_at, ends_at),) = await tenant.rows("SELECT quiet_begins_at, quiet_ends_at FROM sending_policies")
    assert datetime.now(UTC) < ends_at <= begins_at + timedelta(minutes=1)


async def test_single_messages_are_sent_in_quiet_hours(
    tenant: Tenant, worker: Worker, relay: MailRelay
) -> None:
    await keep_to(tenant, quiet=quiet_for())
    await tenant.message(READER, category=messages_pb2.MESSAGE_CATEGORY_MARKETING)
    await tenant.message(OTHER)
    await tenant.deliver(worker)
    assert relay.handed_over == {READER: 1, OTHER: 1}


async def test_the_dispatch_finds_by_itself_that_it_is_quiet_no_longer(
    tenant: Tenant, database: Database, scheduler: RoleDatabase
) -> None:
    dispatch = Dispatch(database, scheduler)
    await keep_to(tenant, quiet=quiet_for())
    await tenant.launch(READER)
    await dispatch.round()
    assert [row.status for row in await tenant.rows("SELECT status FROM batches")] == ["held"]
    await keep_to(tenant)

    async def is_released() -> bool:
        await dispatch.round()
        return [row.status for row in await tenant.rows("SELECT status FROM batches")] == ["requested"]

    await until(is_released)


async def test_beyond_the_cap_a_campaign_is_vetoed_with_the_reason_shown(
    tenant: Tenant, worker: Worker, relay: MailRelay
) -> None:
    await keep_to(tenant, cap=(2, 7))
    for _ in range(3):
        launched = await tenant.launch(READER, OTHER)
        await tenant.deliver(worker)
    assert relay.handed_over == {READER: 2, OTHER: 2}
    (vetoes,) = (await tenant.report(launched)).vetoes
    assert (vetoes.reason, vetoes.messages) == (messages_pb2.SUPPRESSION_REASON_FREQUENCY_CAP, 2)
    # Without a cap the next goes.
    await keep_to(tenant)
    await tenant.launch(READER)
    await tenant.deliver(worker)
    assert relay.handed_over[READER] == 3


async def test_of_campaigns_that_are_decided_on_at_once_no_address_gets_more_than_the_cap(
    tenant: Tenant,
) -> None:
    await keep_to(tenant, cap=(2, 7))
    batches = [await requested(tenant, READER, OTHER) for _ in range(6)]
    await asyncio.gather(
        decide_on(tenant, *batches[:2]), *(decide_on(tenant, batch) for batch in [*batches[2:], batches[0]])
    )
    for email in (READER, OTHER):
        rows = await tenant.rows("SELECT status FROM messages WHERE email = :email", email=email)
        assert sorted(row.status for row in rows) == ["queued"] * 2 + ["vetoed"] * 4
    assert len(await tenant.rows("SELECT message_id FROM frequency_places")) == 4


async def test_a_decision_that_comes_again_is_the_same(tenant: Tenant) -> None:
    await keep_to(tenant, cap=(1, 7))
    batch = await requested(tenant, READER)
    for _ in range(3):
        await decide_on(tenant, batch)
    assert await fates(tenant) == [("queued", None)]


@pytest.mark.parametrize("fate", ["vetoed", "bounced", "failed"])
async def test_the_place_of_what_never_arrives_is_free_again(tenant: Tenant, fate: str) -> None:
    await keep_to(tenant, cap=(1, 7))
    await decide_on(tenant, await requested(tenant, READER))
    await tenant.rows(
        "UPDATE messages SET status = :fate, veto_reason = :reason, settled_at = now()",
        fate=fate,
        reason="manual" if fate == "vetoed" else None,
    )
    await decide_on(tenant, await requested(tenant, READER))
    assert (await fates(tenant))[1] == ("queued", None)


async def test_a_place_is_free_when_so_many_days_have_passed_since_it_was_sent(tenant: Tenant) -> None:
    await keep_to(tenant, cap=(1, 7))
    await decide_on(tenant, await requested(tenant, READER))
    await tenant.rows("UPDATE messages SET status = 'sent', settled_at = now() - interval '6 days 23 hours'")
    await decide_on(tenant, await requested(tenant, READER))
    await tenant.rows("UPDATE messages SET settled_at = now() - interval '7 days' WHERE status = 'sent'")
    await decide_on(tenant, await requested(tenant, READER))
    assert [status for status, _ in await fates(tenant)] == ["sent", "vetoed", "queued"]


async def test_single_marketing_counts_and_is_refused_beyond_the_cap_and_other_mail_is_not(
    tenant: Tenant,
) -> None:
    await keep_to(tenant, cap=(1, 7))
    marketing = messages_pb2.MESSAGE_CATEGORY_MARKETING
    await tenant.message(READER, category=marketing)
    with pytest.raises(FailedPrecondition) as refused:
        await tenant.message(READER, category=marketing)
    assert refused.value.reason == "FREQUENCY_CAP_REACHED"
    await tenant.message(READER)
    await tenant.launch(READER)
    await tenant.approve()
    assert await fates(tenant) == [("queued", None), ("queued", None), ("vetoed", "frequency_cap")]


async def test_a_workflow_takes_places_beside_campaigns_and_is_told_when_one_is_free(tenant: Tenant) -> None:
    await keep_to(tenant, cap=(2, 7))
    now = datetime.now(UTC)
    first, second, third = (new_id() for _ in range(3))
    await decide_on(tenant, await requested(tenant, READER))
    await tenant.rows("UPDATE messages SET status = 'sent', settled_at = :at", at=now - timedelta(days=2))
    refused = await take(tenant, first, second, cap=(2, 7), moment=now)
    assert refused == {second: now + timedelta(days=5)}
    # Asked again it has its place, and nobody else.
    assert await take(tenant, first, cap=(2, 7), moment=now) == {}
    assert third in await take(tenant, third, cap=(2, 7), moment=now)
    later = now + timedelta(days=5)
    assert await take(tenant, third, cap=(2, 7), moment=later) == {}


async def test_what_has_its_place_from_when_it_was_made_is_not_vetoed_for_it(tenant: Tenant) -> None:
    await keep_to(tenant, cap=(1, 7))
    batch = await requested(tenant, READER)
    (message,) = await tenant.rows("SELECT id FROM messages")
    assert await take(tenant, message.id, cap=(1, 7)) == {}
    await decide_on(tenant, batch)
    assert await fates(tenant) == [("queued", None)]


async def test_without_a_cap_no_place_is_taken(tenant: Tenant) -> None:
    await decide_on(tenant, await requested(tenant, READER))
    await tenant.message(OTHER, category=messages_pb2.MESSAGE_CATEGORY_MARKETING)
    assert await take(tenant, new_id(), cap=(1, 1)) == {}
    assert await tenant.rows("SELECT message_id FROM frequency_places") == []


async def test_places_are_erased_with_a_person_and_forgotten_when_they_count_no_more(
    tenant: Tenant, database: Database, scheduler: RoleDatabase
) -> None:
    await keep_to(tenant, cap=(5, 7))
    await tenant.launch(READER)
    await tenant.launch(OTHER)
    await tenant.approve()
    async with tenant.database.tenant_transaction(tenant.context) as session:
        await forget(session, [], [DIGEST])
    assert len(await tenant.rows("SELECT message_id FROM frequency_places")) == 1
    await tenant.rows(
        """
        INSERT INTO frequency_places (email_digest, message_id, taken_at)
        SELECT :digest, id, now() - interval '91 days' FROM unnest(CAST(:ids AS uuid[])) AS old (id)
        """,
        digest=DIGEST,
        ids=[new_id(), new_id()],
    )
    await PlaceRetention(database, scheduler, most_in_a_set=1).round()
    assert len(await tenant.rows("SELECT message_id FROM frequency_places")) == 1
