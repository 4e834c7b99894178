"""Lanes move from process to process, and nobody waits for an endpoint that hangs."""

import asyncio

import pytest

from chassis.database import Database, RoleDatabase
from services.webhooks.dispatch.due import due
from services.webhooks.dispatch.shards import SHARDS, Shards
from services.webhooks.settings import WebhooksSettings
from services.webhooks.tests.house import house
from services.webhooks.tests.receiver import OK, Post, Receiver

pytestmark = pytest.mark.usefixtures("alone_with_shards")


async def test_an_endpoint_that_hangs_keeps_no_shard_from_moving_and_gets_nothing_twice(
    settings: WebhooksSettings, database: Database, scheduler: RoleDatabase, receiver: Receiver
) -> None:
    async def hang(post: Post) -> bytes:
        await let_go.wait()
        return OK

    let_go = asyncio.Event()
    receiver.answer = hang
    async with Shards(scheduler) as here, house(settings, database, scheduler, here) as webhooks:
        endpoint_id = await webhooks.endpoint(receiver.url)
        await webhooks.create_contacts()
        await receiver.wait_for(1)
        async with Shards(scheduler) as there:
            await here.leave()
            await there.round()
            assert len(there.held) == SHARDS - 1
            await here.round()
            await there.round()
            assert len(there.held) == SHARDS
            async with database.tenant_transaction(webhooks.context) as session:
                assert await due(session, endpoint_id, [], 10) == ([], False)
        let_go.set()
        await webhooks.dispatcher.settled()
        (delivery,) = await webhooks.deliveries()
        assert (delivery.status, delivery.attempts) == ("delivered", 1)


async def test_what_is_answered_is_written_down_before_its_shard_moves(
    settings: WebhooksSettings, database: Database, scheduler: RoleDatabase, receiver: Receiver
) -> None:
    async with Shards(scheduler) as here, house(settings, database, scheduler, here) as webhooks:
        await webhooks.endpoint(receiver.url)
        await webhooks.create_contacts(100)
        await receiver.wait_for(1)
        async with Shards(scheduler) as there:
            await here.leave()
            await webhooks.dispatcher.settled()
            await here.round()
            await there.round()
            assert len(there.held) == SHARDS
        posted = len(receiver.posts)
        rows = await webhooks.deliveries()
        assert [row.status for row in rows].count("delivered") == posted == len(await webhooks.attempts())
