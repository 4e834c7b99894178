"""Which way mail goes out, and that it goes no other: dedicated addresses, the shared relay, the platform's own."""

from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import select

from chassis.context import PLATFORM, RequestContext
from chassis.errors import Unavailable
from chassis.identifiers import new_id
from flownurture.sending.v1 import ip_pools_pb2 as pb
from services.sending import warm_up
from services.sending.account_mail import AccountMail
from services.sending.bodies import Body
from services.sending.delivery.worker import Worker
from services.sending.statuses import MessageStatus
from services.sending.suppression.veto import decide
from services.sending.tables import messages
from services.sending.tests.plan import Plan
from services.sending.tests.post import PostOffice
from services.sending.tests.relay import MailRelay
from services.sending.tests.tenant import Tenant


@pytest.fixture
async def own() -> AsyncIterator[MailRelay]:
    """A relay that an organization has to itself."""
    async with MailRelay() as relay:
        yield relay


async def dedicate(tenant: Tenant, plan: Plan, *addresses: pb.NewIpPoolAddress) -> pb.IpPool:
    plan.grant(tenant.context.organization, "dedicated_ips")
    pool: pb.IpPool = await tenant.as_operator(
        pb.CreateIpPoolRequest(
            organization_id=str(tenant.context.organization), name="Own", addresses=addresses
        )
    )
    return pool


def everybody(count: int) -> list[str]:
    return [f"reader{number}@example.com" for number in range(count)]


async def test_mail_goes_out_by_its_organizations_own_relay_and_nobody_elses(
    *, tenant: Tenant, stranger: Tenant, plan: Plan, worker: Worker, relay: MailRelay, own: MailRelay
) -> None:
    pool = await dedicate(tenant, plan, pb.NewIpPoolAddress(relay_url=own.url, warm=True))
    for sender, name in ((tenant, "mine"), (stranger, "theirs")):
        await sender.launch(*(f"{name}{number}@example.com" for number in range(30)))
        await sender.message(f"{name}@example.com")
        await sender.deliver(worker)
    assert {recipient.startswith("mine") for recipient in own.seen} == {True}
    assert {recipient.startswith("theirs") for recipient in relay.seen} == {True}
    assert (len(own.seen), len(relay.seen)) == (31, 31)
    of = {"organization_id": str(tenant.context.organization), "ip_pool_id": pool.id}
    await tenant.as_operator(pb.DeleteIpPoolRequest(**of))
    await tenant.message("afterwards@example.com")
    await tenant.deliver(worker)
    assert relay.seen[-1] == "afterwards@example.com"


async def test_mail_waits_for_a_dedicated_relay_that_is_down_and_never_takes_the_shared_one(
    tenant: Tenant, stranger: Tenant, plan: Plan, worker: Worker, relay: MailRelay
) -> None:
    async with MailRelay() as own:
        url = own.url
    await dedicate(tenant, plan, pb.NewIpPoolAddress(relay_url=url, warm=True))
    await tenant.launch(*everybody(40))
    await tenant.message("customer@example.com")
    batches = await tenant.approve()
    with pytest.raises(Unavailable):
        await worker.deliver(tenant.context, batches[0])
    # It is left alone for a moment.
    await worker.deliver(tenant.context, batches[1])
    assert await tenant.count(MessageStatus.QUEUED) == 41
    assert [row.attempts for row in await tenant.rows("SELECT DISTINCT attempts FROM messages")] == [0]
    assert [row.waits for row in await tenant.rows("SELECT due_at > now() AS waits FROM batches")] == [
        True,
        True,
    ]
    await stranger.message("theirs@example.com")
    await stranger.deliver(worker)
    assert relay.seen == ["theirs@example.com"]
    # For the sweeps of other tests.
    await tenant.rows("UPDATE batches SET due_at = now() + interval '1 day'")


async def test_what_an_address_may_not_send_today_waits_for_tomorrow(
    tenant: Tenant, plan: Plan, worker: Worker, relay: MailRelay, own: MailRelay
) -> None:
    await dedicate(tenant, plan, pb.NewIpPoolAddress(relay_url=own.url))
    volume = warm_up.volumes()[0]
    await tenant.launch(*everybody(volume + 10))
    await tenant.deliver(worker)
    await tenant.deliver(worker)
    assert len(own.seen) == volume
    assert relay.seen == []
    assert await tenant.count(MessageStatus.QUEUED) == 10
    assert [
        row.attempts for row in await tenant.rows("SELECT attempts FROM messages WHERE status = 'queued'")
    ] == [0] * 10
    (batch,) = await tenant.rows("SELECT due_at - now() AS wait FROM batches WHERE status = 'approved'")
    assert timedelta() < batch.wait <= timedelta(days=1)
    await tenant.rows("UPDATE ip_pool_days SET day = day - 1")
    await tenant.deliver(worker)
    assert len(own.seen) == volume + 10


async def test_what_was_not_handed_over_does_not_count_in_the_days_volume(
    tenant: Tenant, plan: Plan, worker: Worker, own: MailRelay
) -> None:
    async def slow_down(recipient: str) -> str:
        return "451 4.7.0 slow down" if recipient.endswith("gmail.com") else "250 OK"

    own.on_recipient = slow_down
    pool = await dedicate(tenant, plan, pb.NewIpPoolAddress(relay_url=own.url))
    await tenant.launch(*everybody(10), *(f"reader{number}@gmail.com" for number in range(30)))
    await tenant.deliver(worker)
    tenant.subscribe("dedicated_ips")
    (address,) = (await tenant(pb.GetIpPoolRequest(ip_pool_id=pool.id))).addresses
    (row,) = await tenant.rows("SELECT count(*) AS begun FROM messages WHERE attempts > 0")
    assert address.warm_up.used == row.begun < 40


async def test_a_pool_of_several_addresses_sends_through_each(
    tenant: Tenant, plan: Plan, worker: Worker, own: MailRelay
) -> None:
    async with MailRelay() as warm:
        await dedicate(
            tenant,
            plan,
            pb.NewIpPoolAddress(relay_url=own.url),
            pb.NewIpPoolAddress(relay_url=warm.url, warm=True),
        )
        volume = warm_up.volumes()[0]
        await tenant.launch(*everybody(3 * volume))
        await tenant.deliver(worker)
        assert len(own.seen) + len(warm.seen) == 3 * volume
        assert len(own.seen) == volume


async def test_connections_come_from_the_address_that_was_given(
    tenant: Tenant, plan: Plan, worker: Worker, relay: MailRelay
) -> None:
    await dedicate(tenant, plan, pb.NewIpPoolAddress(source_address="127.0.0.2", warm=True))
    await tenant.message("reader@example.com")
    await tenant.deliver(worker)
    assert relay.clients == {"127.0.0.2"}


async def test_a_pool_without_an_address_sends_nothing(
    tenant: Tenant, worker: Worker, relay: MailRelay
) -> None:
    await tenant.rows("INSERT INTO ip_pools (id, name) VALUES (:id, 'Own')", id=UUID(int=1))
    await tenant.message("reader@example.com")
    await tenant.deliver(worker)
    assert relay.seen == []
    assert await tenant.count(MessageStatus.QUEUED) == 1


async def test_the_platforms_own_mail_has_a_relay_to_itself(
    tenant: Tenant, post_office: PostOffice, relay: MailRelay, own: MailRelay
) -> None:
    order_id, platform = new_id(), RequestContext.of_process("delivery", PLATFORM)
    recipient = f"{order_id.hex}@example.com"
    mail = AccountMail(tenant.database, from_email="accounts@flownurture.test", from_name="FlowNurture")
    await mail.send(order_id, to=recipient, subject="Hello", body=Body.of("", "Hello"))
    async with post_office.open(relay, system=own) as post:
        async with tenant.database.tenant_transaction(platform) as session:
            batch_id = await session.scalar(select(messages.c.batch_id).where(messages.c.id == order_id))
            await decide(session, batch_id)
        await post.worker.deliver(platform, batch_id)
        await tenant.message("reader@example.com")
        await tenant.deliver(post.worker)
    assert own.seen == [recipient]
    assert relay.seen == ["reader@example.com"]
