"""Nobody waits behind somebody else's campaign, and no provider behind another one that wants us to slow down. Counted, not timed."""

import asyncio
from collections import Counter

from chassis.tests.deadlines import until
from flownurture.sending.v1.events_pb2 import MessagesRequested, SendsRequested
from flownurture.suppression.v1.events_pb2 import MessagesApproved, SendsApproved
from services.sending.delivery.figures import Figures
from services.sending.delivery.worker import Worker
from services.sending.statuses import MessageStatus
from services.sending.tests.post import Post
from services.sending.tests.relay import MailRelay
from services.sending.tests.tenant import Tenant

# What a connection begins before it gives way: the message that is being said, and the one whose envelope went with it.
_PIPELINED = 2


def everybody(count: int, domain: str = "example.com") -> list[str]:
    return [f"reader{number}@{domain}" for number in range(count)]


async def test_a_single_message_is_handed_over_in_the_midst_of_anothers_large_campaign(
    tenant: Tenant, stranger: Tenant, post: Post, relay: MailRelay
) -> None:
    opened = asyncio.Event()

    async def when_opened(_: str) -> str:
        await opened.wait()
        return "250 OK"

    relay.on_message = when_opened
    await tenant.launch(*everybody(1_000))
    campaign = [
        asyncio.create_task(post.worker.deliver(tenant.context, batch)) for batch in await tenant.approve()
    ]
    pool = post.relays.shared.pool

    async def is_under_way() -> bool:
        return len(relay.seen) == pool.in_use > 0

    await until(is_under_way, 60)
    await stranger.message("customer@example.com")
    single = asyncio.create_task(stranger.deliver(post.worker))

    async def waits() -> bool:
        return pool.waiting_urgently > 0

    await until(waits, 60)
    begun = len(relay.seen)
    opened.set()
    await asyncio.gather(single, *campaign)
    overtaken_by = relay.seen.index("customer@example.com") - begun
    assert overtaken_by <= 4 * _PIPELINED * pool.concurrency.limit
    assert Counter(relay.seen) == Counter([*everybody(1_000), "customer@example.com"])


async def test_campaigns_of_two_organizations_take_turns(
    tenant: Tenant, stranger: Tenant, worker: Worker, relay: MailRelay
) -> None:
    await tenant.launch(*everybody(1_000, "first.test"))
    await stranger.launch(*everybody(100, "second.test"))
    batches = [(tenant.context, batch) for batch in await tenant.approve()]
    batches += [(stranger.context, batch) for batch in await stranger.approve()]
    await asyncio.gather(*(worker.deliver(context, batch) for context, batch in batches))
    ended = max(number for number, recipient in enumerate(relay.seen) if recipient.endswith("second.test"))
    assert ended < 700


async def test_a_provider_that_says_slow_down_slows_its_own_lane_alone(
    tenant: Tenant, stranger: Tenant, post: Post, relay: MailRelay
) -> None:
    asked = 0

    async def slow_down(recipient: str) -> str:
        nonlocal asked
        if not recipient.endswith("gmail.com"):
            return "250 OK"
        asked += 1
        return "451 4.7.0 slow down"

    relay.on_recipient = slow_down
    mixed = [
        address for pair in zip(everybody(200, "gmail.com"), everybody(200), strict=True) for address in pair
    ]
    await tenant.launch(*mixed)
    await tenant.deliver(post.worker)
    assert relay.handed_over == dict.fromkeys(everybody(200), 1)
    # What was on its way when it was first said, and nothing later.
    assert asked <= _PIPELINED * post.relays.shared.pool.concurrency.limit
    attempts = await tenant.rows(
        "SELECT attempts, count(*) AS messages FROM messages WHERE status = 'deferred' GROUP BY 1"
    )
    assert {row.attempts: row.messages for row in attempts} == {0: 200 - asked, 1: asked}
    (waiting,) = await tenant.rows(
        "SELECT count(DISTINCT next_attempt_at) AS moments FROM messages WHERE attempts = 0"
    )
    assert waiting.moments > 100
    # What operators see.
    figures = {metric.name: metric.samples for metric in Figures(post.relays).collect()}
    (rate,) = figures["flownurture_lane_messages_per_second"]
    (closed,) = figures["flownurture_lane_closed_seconds"]
    assert rate.labels == closed.labels == {"relay": "shared", "provider": "google"}
    assert rate.value > 0
    assert closed.value > 0
    # They come again, and again nothing is said to a lane that is closed.
    await tenant.rows("UPDATE messages SET next_attempt_at = now() WHERE status = 'deferred'")
    before = asked
    await tenant.deliver(post.worker)
    assert asked <= before + 1
    # Another organization's mail is as it ever was.
    await stranger.launch(*everybody(50, "other.test"))
    await stranger.deliver(post.worker)
    assert await stranger.count(MessageStatus.SENT) == 50


async def test_a_lane_that_opens_again_is_tried_by_one_message(
    tenant: Tenant, post: Post, relay: MailRelay
) -> None:
    async def slow_down(_: str) -> str:
        return "421 4.7.28 unusual rate"

    accepts, relay.on_recipient = relay.on_recipient, slow_down
    await tenant.launch(*everybody(60, "gmail.com"))
    await tenant.deliver(post.worker)
    lane = post.relays.shared.lanes.to("gmail.com")
    relay.on_recipient = accepts
    # As if its time were over.
    lane.pace.closed_until = 0.0
    lane.pace.limit = 1_000.0
    await tenant.rows("UPDATE messages SET next_attempt_at = now() WHERE status = 'deferred'")
    await tenant.deliver(post.worker)
    assert relay.handed_over == dict.fromkeys(everybody(60, "gmail.com"), 1)


async def test_a_provider_that_takes_its_time_keeps_a_connection_free_for_others(
    tenant: Tenant, stranger: Tenant, post: Post, relay: MailRelay
) -> None:
    opened = asyncio.Event()

    async def takes_its_time(recipient: str) -> str:
        if recipient.endswith("gmail.com"):
            await opened.wait()
        return "250 OK"

    relay.on_message = takes_its_time
    await tenant.launch(*everybody(200, "gmail.com"))
    slow = [
        asyncio.create_task(post.worker.deliver(tenant.context, batch)) for batch in await tenant.approve()
    ]

    async def are_held_up() -> bool:
        return post.relays.shared.pool.waiting > 0 and len(relay.seen) > 0

    await until(are_held_up, 60)
    await stranger.launch(*everybody(100))
    await stranger.deliver(post.worker)
    assert await stranger.count(MessageStatus.SENT) == 100
    opened.set()
    await asyncio.gather(*slow)
    assert await tenant.count(MessageStatus.SENT) == 200


async def test_single_messages_have_streams_to_themselves(tenant: Tenant) -> None:
    await tenant.launch("reader@example.com")
    await tenant.message("customer@example.com")
    await tenant.approve()
    for event in (SendsRequested, MessagesRequested, SendsApproved, MessagesApproved):
        assert [order.message_count for order in await tenant.published(event)] == [1]
