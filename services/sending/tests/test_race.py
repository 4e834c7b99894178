"""Eight workers at full speed, while a sixth of their recipients opt out: an acknowledgement is kept, whatever is under way.

RACE_RECIPIENTS says how many they are.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from uuid import UUID

import pytest

from chassis.database import TenantSession
from flownurture.suppression.v1.unsubscribe_pb2 import UnsubscribeRequest
from services.sending.delivery import worker as worker_module
from services.sending.delivery.claims import Claim, claim
from services.sending.delivery.worker import Worker
from services.sending.tests.post import PostOffice
from services.sending.tests.relay import MailRelay
from services.sending.tests.tenant import Tenant
from services.sending.unsubscribe_links import UnsubscribeLinks

WORKERS = 8
RECIPIENTS = int(os.environ.get("RACE_RECIPIENTS", "3000"))
LEAVING = RECIPIENTS // 6


@dataclass(frozen=True)
class Crew:
    """Workers, each with a lease and connections of its own as processes have, and when what they have claimed was claimed for last."""

    workers: Sequence[Worker]
    relay: MailRelay
    claimed: dict[UUID, float]


@pytest.fixture
async def crew(
    post_office: PostOffice, relay: MailRelay, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Crew]:
    """At work, recalls included."""
    claimed: dict[UUID, float] = {}

    async def noted_claim(session: TenantSession, batch_ids: Collection[UUID], token: UUID) -> Claim:
        started = monotonic()
        found = await claim(session, batch_ids, token)
        claimed.update(dict.fromkeys((message.id for message in found.messages), started))
        return found

    monkeypatch.setattr(worker_module, "claim", noted_claim)
    async with AsyncExitStack() as stack:
        posts = [await stack.enter_async_context(post_office.open(relay)) for _ in range(WORKERS)]
        recalls = [asyncio.create_task(post.recalls.run()) for post in posts]
        yield Crew([post.worker for post in posts], relay, claimed)
        for task in recalls:
            task.cancel()
        await asyncio.gather(*recalls, return_exceptions=True)


@pytest.fixture
def opt_out(tenant: Tenant, links: UnsubscribeLinks) -> Callable[[UUID, bytes], Awaitable[None]]:
    """Follows the link in a message, and returns when that was acknowledged."""

    async def opt_out(message_id: UUID, digest: bytes) -> None:
        url = links.url(tenant.context.organization, message_id, digest)
        await tenant(UnsubscribeRequest(token=url.rpartition("/")[2]))

    return opt_out


async def test_nobody_is_claimed_for_after_their_opting_out_was_acknowledged(
    tenant: Tenant,
    crew: Crew,
    opt_out: Callable[[UUID, bytes], Awaitable[None]],
    record_property: Callable[[str, object], None],
) -> None:
    await tenant.launch(*(f"reader{number}@example.com" for number in range(RECIPIENTS)))
    batches = await tenant.approve()
    messages = await tenant.rows("SELECT id, email_digest FROM messages ORDER BY md5(email)")
    acknowledged: dict[UUID, float] = {}
    said: dict[UUID, datetime] = {}

    async def leave(part: int) -> None:
        for row in messages[part:LEAVING:8]:
            await opt_out(row.id, bytes(row.email_digest))
            acknowledged[row.id] = monotonic()
            said[row.id] = datetime.now(UTC)

    async def work(worker: Worker, share: Sequence[UUID]) -> None:
        for batch_id in share:
            await worker.deliver(tenant.context, batch_id)

    # Each batch has two workers that want it.
    shares = [batches[number // 2 :: WORKERS // 2] for number in range(WORKERS)]
    await asyncio.gather(*map(work, crew.workers, shares), *map(leave, range(8)))
    # What was recalled is given back; its next claim decides on it.
    await work(crew.workers[0], batches)
    settled = await tenant.rows("SELECT id, status, veto_reason, settled_at FROM messages")
    vetoed = {row.id: row for row in settled if row.status == "vetoed"}
    late = [
        message_id
        for message_id in acknowledged.keys() - vetoed.keys()
        if crew.claimed[message_id] > acknowledged[message_id]
    ]
    assert late == []
    assert vetoed.keys() <= acknowledged.keys()
    assert len(acknowledged) == LEAVING
    assert {row.veto_reason for row in vetoed.values()} == {"unsubscribe"}
    # Everybody else got one mail.
    assert {row.status for row in settled} == {"sent", "vetoed"}
    assert sorted(crew.relay.handed_over.values()) == [1] * (RECIPIENTS - len(vetoed))
    gap = max(row.settled_at - said[row.id] for row in vetoed.values())
    record_property(
        "figure",
        f"unsubscribe race: {RECIPIENTS:,} recipients, {WORKERS} workers, {LEAVING:,} opted out: 0 claimed for after the "
        f"acknowledgement, {LEAVING - len(vetoed)} before it, {len(vetoed)} vetoed; "
        f"longest from acknowledgement to veto {gap.total_seconds():.1f} s",
    )
