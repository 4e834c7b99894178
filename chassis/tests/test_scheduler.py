"""Work by the clock: due rows are found across organizations, and each is handled in its own."""

import asyncio
from contextlib import suppress
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import exc, text

from chassis.context import ActorKind, RequestContext
from chassis.database import Database, RoleDatabase
from chassis.scheduler import Periodic, Scheduler
from chassis.tests.deadlines import until

DUE = text("SELECT organization_id, id FROM things WHERE due_at <= now() ORDER BY due_at LIMIT 100")
NOW = timedelta(0)


async def add_due(database: Database, context: RequestContext) -> UUID:
    async with database.tenant_transaction(context) as session:
        identifier: UUID = await session.scalar(
            text("INSERT INTO things (name, due_at) VALUES ('due', now()) RETURNING id")
        )
        return identifier


async def test_each_due_row_is_handled_in_its_own_organization(
    database: Database, scheduler_database: RoleDatabase
) -> None:
    tenants = [RequestContext.of_process("probe", uuid4()) for _ in range(12)]
    due = {(tenant.organization, await add_due(database, tenant)) for tenant in tenants}
    handled: set[tuple[UUID, UUID]] = set()

    async def handle(context: RequestContext, identifier: UUID) -> None:
        assert (context.issuer, context.actor_kind) == ("probe", ActorKind.PROCESS)
        async with database.tenant_transaction(context) as session:
            done = text("UPDATE things SET due_at = NULL WHERE id = :id")
            assert (await session.execute(done, {"id": identifier})).rowcount == 1
        handled.add((context.organization, identifier))

    await Scheduler(scheduler_database, DUE, NOW, handle, process="probe").round()
    assert due <= handled


async def test_one_row_that_fails_stops_no_other(
    database: Database, scheduler_database: RoleDatabase
) -> None:
    bad = await add_due(database, RequestContext.of_process("probe", uuid4()))
    good = await add_due(database, RequestContext.of_process("probe", uuid4()))
    handled: list[UUID] = []

    async def handle(context: RequestContext, identifier: UUID) -> None:
        if identifier == bad:
            raise LookupError
        handled.append(identifier)
        async with database.tenant_transaction(context) as session:
            await session.execute(text("UPDATE things SET due_at = NULL"))

    await Scheduler(scheduler_database, DUE, NOW, handle, process="probe").round()
    assert good in handled


async def test_the_schedulers_role_sees_what_is_due_and_nothing_else(
    scheduler_database: RoleDatabase,
) -> None:
    for statement in (
        "SELECT name FROM things",
        "UPDATE things SET due_at = NULL",
        "SELECT envelope FROM outbox",
    ):
        with pytest.raises(exc.ProgrammingError, match="permission denied"):
            async with scheduler_database.transaction() as connection:
                await connection.execute(text(statement))


async def test_a_round_that_fails_is_followed_by_the_next() -> None:
    rounds: list[int] = []

    async def act() -> None:
        rounds.append(len(rounds))
        raise LookupError

    task = asyncio.create_task(Periodic(timedelta(milliseconds=1), act).run())
    await until(lambda: len(rounds) >= 3)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert task.cancelled()
