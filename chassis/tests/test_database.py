"""Tenant transactions: an organization sees its rows and no others, whatever happened on the connection before."""

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from uuid import UUID, uuid4

import psycopg
import pytest
from sqlalchemy import exc, text

from chassis.context import ActorKind, MissingOrganization, RequestContext
from chassis.database import Database, RoleDatabase
from chassis.errors import Unavailable
from chassis.secret import Secret
from chassis.tests.probe import Probe

INSERT = text("INSERT INTO things (name) VALUES (:name)")
NAMES = text("SELECT name FROM things ORDER BY name")
SETTING = text("SELECT current_setting('app.organization_id', true)")


def tenant() -> RequestContext:
    return RequestContext.of_process("probe", uuid4())


async def names(database: Database, context: RequestContext) -> list[str]:
    async with database.tenant_transaction(context, read_only=True) as session:
        return list((await session.execute(NAMES)).scalars())


async def add_and_fail(database: Database, context: RequestContext) -> None:
    async with database.tenant_transaction(context) as session:
        await session.execute(INSERT, {"name": "never committed"})
        raise LookupError


async def add(database: Database, context: RequestContext, name: str) -> None:
    async with database.tenant_transaction(context) as session:
        await session.execute(INSERT, {"name": name})


async def test_an_organization_sees_its_rows_and_no_others(database: Database) -> None:
    ours, theirs = tenant(), tenant()
    await add(database, ours, "ours")
    await add(database, theirs, "theirs")
    assert (await names(database, ours), await names(database, theirs)) == (["ours"], ["theirs"])


async def test_another_organizations_rows_cannot_be_changed_or_deleted(database: Database) -> None:
    ours, theirs = tenant(), tenant()
    await add(database, theirs, "theirs")
    async with database.tenant_transaction(ours) as session:
        assert (await session.execute(text("UPDATE things SET name = 'stolen'"))).rowcount == 0
        assert (await session.execute(text("DELETE FROM things"))).rowcount == 0
    assert await names(database, theirs) == ["theirs"]


async def test_a_row_cannot_be_written_into_another_organization(database: Database) -> None:
    ours, theirs = tenant(), tenant()
    await add(database, ours, "ours")
    for statement in (
        "INSERT INTO things (organization_id, name) VALUES (:theirs, 'planted')",
        "UPDATE things SET organization_id = :theirs",
    ):
        with pytest.raises(exc.ProgrammingError, match="row-level security"):
            async with database.tenant_transaction(ours) as session:
                await session.execute(text(statement), {"theirs": theirs.organization})
    assert await names(database, theirs) == []


async def test_without_an_organization_there_is_no_transaction(database: Database) -> None:
    with pytest.raises(MissingOrganization):
        async with database.tenant_transaction(RequestContext("probe", ActorKind.ANONYMOUS)):
            pytest.fail("a session without an organization")


async def test_outside_of_any_organization_no_row_is_seen_or_written(database: Database) -> None:
    await add(database, tenant(), "somebody's")
    async with database.platform_transaction() as connection:
        assert (await connection.execute(NAMES)).all() == []
    with pytest.raises(exc.DBAPIError):
        async with database.platform_transaction() as connection:
            await connection.execute(INSERT, {"name": "nobody's"})


@pytest.mark.parametrize("setting", ["", "garbage", "00000000-0000-0000-0000-000000000000"])
async def test_an_unset_empty_or_wrong_setting_shows_no_row(database: Database, setting: str) -> None:
    await add(database, tenant(), "somebody's")
    async with database.platform_transaction() as connection:
        await connection.execute(
            text("SELECT set_config('app.organization_id', :value, true)"), {"value": setting}
        )
        try:
            assert (await connection.execute(NAMES)).all() == []
        except exc.DataError:
            assert setting == "garbage"
            await connection.rollback()


async def test_nothing_leaks_through_a_pool_of_one_under_errors_and_cancellations(probe: Probe) -> None:
    """A thousand transactions of three organizations take turns on one connection."""
    chance = random.Random(7)
    tenants = [tenant() for _ in range(3)]
    async with Database(probe.url("app"), schema=probe.schema, pool_size=1) as database:
        for context in tenants:
            await add(database, context, str(context.organization))

        async def succeed(context: RequestContext) -> None:
            assert await names(database, context) == [str(context.organization)]

        async def fail_in_sql(context: RequestContext) -> None:
            with pytest.raises(exc.DBAPIError):
                async with database.tenant_transaction(context) as session:
                    await session.execute(text("SELECT 1 / 0"))

        async def fail_in_code(context: RequestContext) -> None:
            with pytest.raises(LookupError):
                await add_and_fail(database, context)

        async def be_cancelled(context: RequestContext) -> None:
            async def work() -> None:
                async with database.tenant_transaction(context) as session:
                    await session.execute(INSERT, {"name": "never committed"})
                    await session.execute(text("SELECT pg_sleep(5)"))

            task = asyncio.create_task(work())
            for _ in range(chance.randrange(40)):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        acts = [succeed] * 6 + [fail_in_sql, fail_in_code, be_cancelled]
        for _ in range(1000):
            await chance.choice(acts)(chance.choice(tenants))
            if chance.random() < 0.1:
                async with database.platform_transaction() as connection:
                    assert (await connection.execute(NAMES)).all() == []
                    assert await connection.scalar(SETTING) in (None, "")
        for context in tenants:
            await succeed(context)


async def test_concurrent_tenants_never_see_each_other(database: Database) -> None:
    tenants = [tenant() for _ in range(20)]

    async def live(context: RequestContext) -> None:
        await add(database, context, str(context.organization))
        for _ in range(10):
            assert await names(database, context) == [str(context.organization)]

    await asyncio.gather(*map(live, tenants))


async def test_a_transaction_that_fails_leaves_nothing(database: Database, context: RequestContext) -> None:
    with pytest.raises(LookupError):
        await add_and_fail(database, context)
    assert await names(database, context) == []


async def test_an_error_swallowed_inside_does_not_pass_as_success(
    database: Database, context: RequestContext
) -> None:
    async def swallow() -> None:
        async with database.tenant_transaction(context) as session:
            await session.execute(INSERT, {"name": "lost"})
            with suppress(exc.DBAPIError):
                await session.execute(text("SELECT 1 / 0"))

    with pytest.raises(psycopg.errors.InFailedSqlTransaction):
        await swallow()


async def test_a_read_only_transaction_writes_nothing(database: Database, context: RequestContext) -> None:
    with pytest.raises(exc.InternalError, match="read-only"):
        async with database.tenant_transaction(context, read_only=True) as session:
            await session.execute(INSERT, {"name": "written"})


async def test_a_broken_connection_is_replaced_unnoticed(probe: Probe, context: RequestContext) -> None:
    async with Database(probe.url("app"), schema=probe.schema, pool_size=3) as database:
        await add(database, context, "kept")
        await asyncio.gather(*(names(database, context) for _ in range(3)))
        probe.look(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", f"{probe.schema}_app"
        )
        assert await names(database, context) == ["kept"]


async def test_a_connection_lost_halfway_is_unavailable_and_leaves_nothing(
    probe: Probe, context: RequestContext
) -> None:
    async with Database(probe.url("app"), schema=probe.schema, pool_size=1) as database:

        async def lose_the_connection() -> None:
            async with database.tenant_transaction(context) as session:
                await session.execute(INSERT, {"name": "lost"})
                backend = await session.scalar(text("SELECT pg_backend_pid()"))
                probe.look("SELECT pg_terminate_backend(%s)", backend)
                await session.execute(NAMES)

        with pytest.raises(Unavailable):
            await lose_the_connection()
        assert await names(database, context) == []


async def test_a_connection_that_is_left_in_a_pipeline_is_not_used_again(
    probe: Probe, context: RequestContext
) -> None:
    async with Database(probe.url("app"), schema=probe.schema, pool_size=1) as database:

        async def be_cut_off() -> None:
            async with database.tenant_transaction(context) as session:
                # As the driver leaves it when it is cut off on the way out of a pipeline that has committed.
                await session.driver.commit()
                session.driver.pgconn.enter_pipeline_mode()
                raise asyncio.CancelledError

        with pytest.raises(asyncio.CancelledError):
            await be_cut_off()
        assert await names(database, context) == []


async def test_a_database_that_does_not_answer_is_unavailable() -> None:
    with pytest.raises(Unavailable):
        async with Database(Secret("postgresql://nobody@127.0.0.1:1/none"), schema="none"):
            pytest.fail("connected to nothing")


async def test_two_transactions_that_cannot_both_go_on_are_told_to_come_again(
    database: Database, context: RequestContext
) -> None:
    await add(database, context, "one")
    await add(database, context, "two")
    update = text("UPDATE things SET due_at = now() WHERE name = :name")
    both_hold_one = asyncio.Barrier(2)

    async def lock(first: str, second: str) -> None:
        async with database.tenant_transaction(context) as session:
            await session.execute(update, {"name": first})
            await both_hold_one.wait()
            await session.execute(update, {"name": second})

    results = await asyncio.gather(lock("one", "two"), lock("two", "one"), return_exceptions=True)
    assert [type(result) for result in results if result] == [Unavailable]


@pytest.mark.parametrize(
    ("as_whom", "why"),
    [
        (Probe.superuser_url, "is a superuser"),
        (lambda probe: probe.new_role("BYPASSRLS"), "BYPASSRLS"),
        (lambda probe: probe.url("owner"), "owns tables"),
        (lambda probe: probe.new_role(f"IN ROLE {probe.schema}_owner"), "owns tables"),
    ],
    ids=["superuser", "bypassing", "owner", "member of the owner"],
)
async def test_a_role_that_policies_do_not_bind_is_refused_at_the_start(
    probe: Probe, as_whom: Callable[[Probe], Secret], why: str
) -> None:
    url = as_whom(probe)
    with pytest.raises(SystemExit, match=why):
        async with Database(url, schema=probe.schema):
            pytest.fail("started with a role that sees everything")
    with pytest.raises(SystemExit, match=why):
        async with RoleDatabase(url):
            pytest.fail("started with a role that sees everything")


async def test_the_app_role_may_not_truncate_or_refer(probe: Probe, database: Database) -> None:
    rows = probe.look(
        "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname = %s AND c.relkind = 'r' AND ("
        "has_table_privilege(%s, c.oid, 'TRUNCATE') OR has_table_privilege(%s, c.oid, 'REFERENCES'))",
        probe.schema,
        f"{probe.schema}_app",
        f"{probe.schema}_app",
    )
    assert rows == []


@pytest.mark.parametrize("table", ["outbox", "inbox", "idempotency_keys"])
async def test_what_the_chassis_has_written_cannot_be_changed_by_the_app_role(
    database: Database, context: RequestContext, table: str
) -> None:
    # That nothing is deleted but with its organization is in test_erasure.py.
    with pytest.raises(exc.ProgrammingError, match="permission denied"):
        async with database.tenant_transaction(context) as session:
            await session.execute(text(f"UPDATE {table} SET created_at = now()"))


async def test_copy_goes_through_the_driver_into_the_same_transaction(
    database: Database, context: RequestContext
) -> None:
    async with database.tenant_transaction(context) as session:
        await session.execute(text("CREATE TEMPORARY TABLE staging (name text) ON COMMIT DROP"))
        async with session.driver.cursor().copy("COPY staging (name) FROM STDIN") as copy:
            for number in range(100):
                await copy.write_row((f"thing {number:03}",))
        await session.execute(text("INSERT INTO things (name) SELECT name FROM staging"))
    assert len(await names(database, context)) == 100


async def test_the_policy_is_evaluated_once_a_statement(database: Database, context: RequestContext) -> None:
    async with database.tenant_transaction(context) as session:
        plan = (await session.execute(text("EXPLAIN SELECT * FROM things"))).scalars().all()
    assert any("InitPlan" in line for line in plan)


async def test_what_is_written_does_not_show_in_errors(database: Database, context: RequestContext) -> None:
    await add(database, context, "s3cret name")
    with pytest.raises(exc.IntegrityError) as refused:
        await add(database, context, "s3cret name")
    assert "hidden" in str(refused.value).lower()


async def test_ids_fill_themselves_in_sets(database: Database, context: RequestContext) -> None:
    async with database.tenant_transaction(context) as session:
        inserted = await session.execute(
            text("INSERT INTO things (name) SELECT unnest(CAST(:names AS text[])) RETURNING id"),
            {"names": ["a", "b", "c"]},
        )
        ids: list[UUID] = list(inserted.scalars())
    assert [identifier.version for identifier in ids] == [7, 7, 7]
