"""What a process takes up: what is due, a few at a time, from every organization, and of CRMs that it knows."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import insert, text

from chassis.context import RequestContext
from chassis.database import RoleDatabase
from chassis.errors import Unavailable
from chassis.identifiers import new_id
from chassis.retention import Forgetting
from chassis.tests.deadlines import until
from services.integrations.retention import KEPT, SYNCS_KEPT
from services.integrations.sync import positions, syncs
from services.integrations.sync.figures import UNFINISHED
from services.integrations.sync.runner import Runner
from services.integrations.sync.syncs import Trigger
from services.integrations.tables import connections
from services.integrations.tests.house import House, Tenant


@dataclass
class Turns:
    """Takes turns that last until they are cut off, or may end, and puts off what it was given."""

    house: House
    taken: list[tuple[UUID, UUID]] = field(default_factory=list)
    cut_off: list[UUID] = field(default_factory=list)
    may_end: asyncio.Event = field(default_factory=asyncio.Event)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def take(self, context: RequestContext, connection_id: UUID) -> None:
        async with self.house.database.tenant_transaction(context) as session:
            await positions.take_due(session, connection_id)
        async with self.changed:
            self.taken.append((context.organization, connection_id))
            self.changed.notify_all()
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.cut_off.append(connection_id)
            raise

    async def until(self, number: int) -> None:
        async with self.changed:
            await self.changed.wait_for(lambda: len(self.taken) >= number)


@dataclass
class Scene:
    """A CRM that no other test knows, and who takes turns with it."""

    house: House
    turns: Turns
    runner: Runner
    provider: str

    async def connections(self, tenant: Tenant, number: int) -> list[UUID]:
        """So many of an organization, all due."""
        made = [new_id() for _ in range(number)]
        async with self.house.database.tenant_transaction(tenant.context) as session:
            for connection_id in made:
                await session.execute(insert(connections).values(**_row(connection_id, self.provider)))
                await positions.begin(session, connection_id)
        return made


def _row(connection_id: UUID, provider: str) -> dict[str, Any]:
    return {
        "id": connection_id,
        "provider": provider,
        "method": "oauth",
        "status": "active",
        "account_id": str(connection_id),
        "account_name": "",
        "base_url": "",
        "scopes": [],
        "connected_by": uuid4(),
        "connected_by_kind": "user",
        "last_error": "",
    }


@pytest.fixture
async def scene(integrations: House, scheduler: RoleDatabase) -> AsyncIterator[Scene]:
    provider, turns = f"crm-{uuid4()}", Turns(integrations)
    scene = Scene(integrations, turns, Runner(scheduler, turns, [provider]), provider)
    yield scene
    await scene.runner.stop()


async def test_a_few_are_taken_up_at_a_time_and_every_organization_has_its_turn(scene: Scene) -> None:
    large, small = scene.house.tenant(), scene.house.tenant()
    of_large = await scene.connections(large, 12)
    (of_small,) = await scene.connections(small, 1)
    await scene.runner.look()
    await scene.turns.until(4)
    assert len(scene.turns.taken) == 4
    assert (small.context.organization, of_small) in scene.turns.taken
    scene.turns.may_end.set()
    running = asyncio.create_task(scene.runner.run())
    await scene.turns.until(13)
    running.cancel()
    assert sorted(connection_id for _, connection_id in scene.turns.taken) == sorted([*of_large, of_small])


async def test_whoever_is_woken_looks_at_once_and_whoever_is_stopped_cuts_off_what_is_under_way(
    scene: Scene,
) -> None:
    running = asyncio.create_task(scene.runner.run())
    (connection_id,) = await scene.connections(scene.house.tenant(), 1)
    scene.runner.wake.set()
    await scene.turns.until(1)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert scene.turns.cut_off == [connection_id]


async def test_what_is_under_way_or_of_a_crm_that_is_not_set_up_is_not_taken_up(scene: Scene) -> None:
    tenant = scene.house.tenant()
    (elsewhere,) = await scene.connections(tenant, 1)
    async with scene.house.database.tenant_transaction(tenant.context) as session:
        await positions.take_due(session, elsewhere)
        sync = await syncs.start(session, elsewhere, Trigger.SCHEDULE)
        assert await syncs.claim(session, sync.id)
        # Asked for meanwhile: it is due once the sync has ended.
        await positions.begin(session, elsewhere)
        other = new_id()
        await session.execute(insert(connections).values(**_row(other, "no such CRM")))
        await positions.begin(session, other)
    await scene.runner.look()
    assert scene.turns.taken == []
    await tenant.execute("UPDATE syncs SET lease_until = now()")
    await scene.runner.look()
    await scene.turns.until(1)
    assert scene.turns.taken == [(tenant.context.organization, elsewhere)]


async def test_syncs_that_ended_long_ago_are_forgotten_with_their_problems(
    scene: Scene, scheduler: RoleDatabase
) -> None:
    tenant = scene.house.tenant()
    (connection_id,) = await scene.connections(tenant, 1)
    async with scene.house.database.tenant_transaction(tenant.context) as session:
        for age in (SYNCS_KEPT * 1.1, SYNCS_KEPT * 0.9):
            sync = await syncs.start(session, connection_id, Trigger.SCHEDULE)
            await session.execute(
                text("UPDATE syncs SET status = 'completed', finished_at = now() - :age WHERE id = :id"),
                {"age": age, "id": sync.id},
            )
            await session.execute(
                text(
                    "INSERT INTO sync_problems (id, sync_id, record_id, message) VALUES (:id, :sync, '1', '')"
                ),
                {"id": new_id(), "sync": sync.id},
            )
    await Forgetting(scheduler, *KEPT).round()
    (left,) = await tenant.rows("SELECT id FROM syncs")
    assert left.id == sync.id
    assert len(await tenant.rows("SELECT id FROM sync_problems")) == 1


async def test_turns_are_counted_by_how_they_ended(scheduler: RoleDatabase) -> None:
    class Ends:
        def __init__(self, *how: Exception | None) -> None:
            self._how = list(how)

        async def take(self, context: RequestContext, connection_id: UUID) -> None:
            if (how := self._how.pop()) is not None:
                raise how

    def counted() -> list[float]:
        return [
            REGISTRY.get_sample_value("flownurture_sync_turns_total", {"outcome": outcome}) or 0.0
            for outcome in ("done", "waiting", "failed")
        ]

    before = counted()
    runner = Runner(scheduler, Ends(None, Unavailable("down"), LookupError()), [])
    for _ in range(3):
        runner._begin(uuid4(), new_id())
    await until(lambda: sum(counted()) == sum(before) + 3)
    assert counted() == [number + 1 for number in before]


async def test_syncs_that_have_not_ended_can_be_counted(scheduler: RoleDatabase) -> None:
    async with scheduler.transaction() as connection:
        found = (await connection.execute(UNFINISHED)).all()
    assert {status for status, _, _ in found} <= {"pending", "running", "waiting"}
