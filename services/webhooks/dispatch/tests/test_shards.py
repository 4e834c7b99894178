"""Which process posts to which endpoint: one at a time, and somebody always."""

from collections.abc import AsyncIterator, Callable, Collection

import pytest
from sqlalchemy import text

from chassis.database import RoleDatabase
from chassis.identifiers import new_id
from chassis.secret import Secret
from services.webhooks.dispatch.shards import SHARDS, Shards

pytestmark = pytest.mark.usefixtures("alone_with_shards")

_LET_RUN_OUT = text("UPDATE webhooks.lane_leases SET expires_at = now() - interval '1 second'")
_FORGET_ALL = text("UPDATE webhooks.dispatchers SET seen_at = now() - interval '1 hour'")


@pytest.fixture
async def scheduler(service_environment: Callable[[str], dict[str, str]]) -> AsyncIterator[RoleDatabase]:
    url = Secret(service_environment("webhooks")["DATABASE_SCHEDULER_URL"])
    async with RoleDatabase(url) as scheduler:
        yield scheduler


async def test_whoever_is_alone_has_all_and_two_share_them_without_overlap(scheduler: RoleDatabase) -> None:
    async with Shards(scheduler) as first:
        assert len(first.held) == SHARDS
        async with Shards(scheduler) as second:
            assert second.held == frozenset()
            await first.round()
            await second.round()
            assert first.held | second.held == frozenset(range(SHARDS))
            assert not first.held & second.held
            assert min(len(first.held), len(second.held)) > 0
        await first.round()
        assert len(first.held) == SHARDS


async def test_what_a_killed_process_held_is_taken_when_its_lease_has_run_out(
    scheduler: RoleDatabase,
) -> None:
    killed = Shards(scheduler)
    await killed.round()
    async with Shards(scheduler) as heir:
        assert len(heir.held) < SHARDS
        async with scheduler.transaction() as connection:
            await connection.execute(_LET_RUN_OUT)
            await connection.execute(_FORGET_ALL)
        await heir.round()
        assert len(heir.held) == SHARDS


async def test_a_shard_is_given_back_when_its_dispatcher_says_so(scheduler: RoleDatabase) -> None:
    async def not_yet(shards: Collection[int]) -> Collection[int]:
        return shards

    async def now(shards: Collection[int]) -> Collection[int]:
        return ()

    async with Shards(scheduler) as first:
        first.give_up = not_yet
        async with Shards(scheduler) as second:
            await first.round()
            await second.round()
            assert second.held == frozenset()
            assert len(first.held) < SHARDS
            first.give_up = now
            await first.round()
            await second.round()
            assert first.held | second.held == frozenset(range(SHARDS))


async def test_whoever_leaves_holds_nothing_and_is_followed_by_the_others(scheduler: RoleDatabase) -> None:
    async with Shards(scheduler) as first, Shards(scheduler) as second:
        await first.leave()
        assert first.held == frozenset()
        await second.round()
        assert len(second.held) == SHARDS
        await first.round()
        assert first.held == frozenset()


async def test_an_endpoint_is_held_by_one_of_those_that_live(scheduler: RoleDatabase) -> None:
    async with Shards(scheduler) as first, Shards(scheduler) as second:
        await first.round()
        await second.round()
        for _ in range(50):
            endpoint_id = new_id()
            assert first.holds(endpoint_id) + second.holds(endpoint_id) == 1
