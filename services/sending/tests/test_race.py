"""Eight workers at full speed, while a thousand of their recipients opt out: an acknowledgement is kept, whatever is under way."""

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from time import monotonic
from uuid import UUID

import pytest

from chassis.database import TenantSession
from flownurture.suppression.v1.unsubscribe_pb2 import UnsubscribeRequest
from services.sending.delivery import worker as worker_module
from services.sending.delivery.claims import Claimed, claim
from services.sending.delivery.worker import Worker
from services.sending.tests.post import PostOffice
from services.sending.tests.relay import MailRelay
from services.sending.tests.tenant import Tenant
from services.sending.unsubscribe_links import UnsubscribeLinks

WORKERS = 8
RECIPIENTS = 6_000
LEAVING = 1_000


@pytest.fixture
async def workers(post_office: PostOffice, relay: MailRelay) -> AsyncIterator[list[Worker]]:
    """Each with a lease and connections of its own, as processes have."""
    async with AsyncExitStack() as stack:
        posts = [await stack.enter_async_context(post_office.open(relay)) for _ in range(WORKERS)]
        yield [post.worker for post in posts]


async def test_nobody_is_claimed_for_after_their_opting_out_was_acknowledged(
    tenant: Tenant,
    workers: list[Worker],
    relay: MailRelay,
    links: UnsubscribeLinks,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun: dict[UUID, float] = {}

    async def noted_claim(session: TenantSession, batch_id: UUID, token: UUID) -> Sequence[Claimed] | None:
        started = monotonic()
        claimed = await claim(session, batch_id, token)
        begun.update(dict.fromkeys((message.id for message in claimed or ()), started))
        return claimed

    monkeypatch.setattr(worker_module, "claim", noted_claim)
    await tenant.launch(*(f"reader{number}@example.com" for number in range(RECIPIENTS)))
    batches = await tenant.approve()
    messages = await tenant.rows("SELECT id, email, email_digest FROM messages ORDER BY md5(email)")
    acknowledged: dict[UUID, float] = {}
    said: dict[UUID, datetime] = {}

    async def leave(some: Collection[tuple[UUID, bytes]]) -> None:
        for message_id, digest in some:
            url = links.url(tenant.context.organization, message_id, digest)
            await tenant(UnsubscribeRequest(token=url.rpartition("/")[2]))
            acknowledged[message_id] = monotonic()
            said[message_id] = datetime.now(UTC)

    async def work(worker: Worker, share: list[UUID]) -> None:
        for batch_id in share:
            await worker.deliver(tenant.context, batch_id)

    leaving = [(row.id, bytes(row.email_digest)) for row in messages[:LEAVING]]
    await asyncio.gather(
        # Each batch has two workers that want it.
        *(work(worker, batches[number // 2 :: WORKERS // 2]) for number, worker in enumerate(workers)),
        *(leave(leaving[part::8]) for part in range(8)),
    )
    late = [message_id for message_id, at in acknowledged.items() if begun.get(message_id, 0.0) > at]
    vetoed = {
        row.id: row
        for row in await tenant.rows(
            "SELECT id, veto_reason, settled_at FROM messages WHERE status = 'vetoed'"
        )
    }
    assert late == []
    assert len(acknowledged) == LEAVING
    assert {row.veto_reason for row in vetoed.values()} == {"unsubscribe"}
    # Whoever opted out was either claimed for before, or vetoed; everybody else got one mail.
    assert vetoed.keys() == acknowledged.keys() - begun.keys()
    assert sorted(relay.handed_over.values()) == [1] * (RECIPIENTS - len(vetoed))
    assert await tenant.rows("SELECT FROM messages WHERE status NOT IN ('sent', 'vetoed')") == []
    gap = max(row.settled_at - said[row.id] for row in vetoed.values())
    print(
        f"unsubscribe race: {RECIPIENTS:,} recipients, {WORKERS} workers, {LEAVING:,} opted out: 0 claimed for after the "
        f"acknowledgement, {LEAVING - len(vetoed)} before it, {len(vetoed)} vetoed; "
        f"longest from acknowledgement to veto {gap.total_seconds():.1f} s"
    )
