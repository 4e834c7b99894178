"""An organization that is erased is gone from a schema with every row, in sets, and nobody else loses one."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from chassis.context import RequestContext
from chassis.database import Database, RoleDatabase
from chassis.erasure import Erasures
from chassis.errors import Unavailable
from chassis.tests.deadlines import until
from chassis.tests.probe import Probe
from flownurture.identity.v1.events_pb2 import OrganizationCreated, OrganizationErased

TABLES = ("things", "parts", "findings", "inbox", "outbox", "idempotency_keys", "data_keys")
_THINGS = text("INSERT INTO things (name) SELECT 'thing ' || number FROM generate_series(1, 7) AS number")
_PARTS = text("INSERT INTO parts (thing_id) SELECT id FROM things")
# Each is part of the one before.
_NESTED = text("""
    UPDATE parts SET part_of = earlier.id FROM (SELECT id, lead(id) OVER (ORDER BY id) AS next FROM parts) AS earlier
    WHERE parts.id = earlier.next
""")
_FINDINGS = text("INSERT INTO findings (part_id) SELECT id FROM parts")
_REMEMBERED = text(
    "INSERT INTO idempotency_keys (key_digest, method, request_digest, response) VALUES ('', '', '', '')"
)
_HEARD = text("INSERT INTO inbox (reader, event_id) VALUES ('probe', uuidv7())")
_KEY = text("INSERT INTO data_keys (id, version, wrapped, wrapping_key) VALUES (uuidv7(), 1, '', '')")


@pytest.fixture
def erasures(database: Database, scheduler_database: RoleDatabase) -> Erasures:
    return Erasures(database, scheduler_database, process="probe", most_in_a_set=2)


async def fill(database: Database, context: RequestContext) -> None:
    """Have the organization something in every table."""
    async with database.tenant_transaction(context) as session:
        for statement in (_THINGS, _PARTS, _NESTED, _FINDINGS, _REMEMBERED, _HEARD, _KEY):
            await session.execute(statement)
        session.publish(OrganizationCreated(name="Probe"))


def left(probe: Probe, context: RequestContext) -> Counter[str]:
    """How many rows it has, by table."""
    counts = {
        table: probe.look(f"SELECT count(*) FROM {table} WHERE organization_id = %s", context.organization)[
            0
        ][0]
        for table in TABLES
    }
    return +Counter(counts)


async def test_every_row_of_an_organization_goes_in_sets_and_nobody_elses(
    database: Database, erasures: Erasures, probe: Probe, context: RequestContext
) -> None:
    neighbour = RequestContext.of_process("probe", uuid4())
    for each in (context, neighbour):
        await fill(database, each)
    before = left(probe, neighbour)
    assert left(probe, context) == before
    assert before.keys() == set(TABLES)
    # It may come twice.
    for _ in range(2):
        await erasures.note(context.organization)
        await erasures.carry_out(context)
    assert not left(probe, context)
    assert left(probe, neighbour) == before


async def test_nothing_goes_of_an_organization_whose_erasure_nobody_noted(
    database: Database, erasures: Erasures, probe: Probe, context: RequestContext
) -> None:
    await fill(database, context)
    before = left(probe, context)
    await erasures.carry_out(context)
    assert left(probe, context) == before


async def test_what_is_only_added_to_loses_a_row_to_nothing_but_the_erasure_of_its_own_organization(
    database: Database, erasures: Erasures, probe: Probe, context: RequestContext
) -> None:
    neighbour = RequestContext.of_process("probe", uuid4())
    for each in (context, neighbour):
        await fill(database, each)
    await erasures.note(neighbour.organization)
    for table in ("findings", "outbox", "inbox", "idempotency_keys"):
        async with database.tenant_transaction(context) as session:
            assert (await session.execute(text(f"DELETE FROM {table}"))).rowcount == 0
        async with database.tenant_transaction(neighbour) as session:
            assert (await session.execute(text(f"DELETE FROM {table}"))).rowcount > 0
    # The role that deletes does not say whose rows may be deleted.
    for statement in ("DELETE FROM erasures", "INSERT INTO erasures DEFAULT VALUES"):
        with pytest.raises(ProgrammingError):
            async with database.tenant_transaction(context) as session:
                await session.execute(text(statement))


async def test_what_comes_late_goes_at_the_next_look_until_nothing_can_come_any_more(
    database: Database, erasures: Erasures, probe: Probe, context: RequestContext
) -> None:
    await erasures.handler(OrganizationErased(), context, None)  # type: ignore[arg-type]
    [(erased_at, next_look_at, asked_at)] = probe.look(
        "SELECT erased_at, next_look_at, asked_at FROM erasures WHERE organization_id = %s",
        context.organization,
    )
    assert asked_at <= erased_at < next_look_at
    await fill(database, context)
    probe.look(
        "UPDATE erasures SET next_look_at = now(), asked_at = now() - interval '9 days' WHERE organization_id = %s RETURNING 1",
        context.organization,
    )
    await erasures.round()
    assert not left(probe, context)
    [(still, last)] = probe.look(
        "SELECT erased_at, next_look_at = 'infinity' FROM erasures WHERE organization_id = %s",
        context.organization,
    )
    assert (still, last) == (erased_at, True)


async def test_who_comes_while_another_is_at_it_leaves_it_to_them(
    database: Database, erasures: Erasures, probe: Probe, context: RequestContext
) -> None:
    await fill(database, context)
    before = left(probe, context)
    await erasures.note(context.organization)
    async with database.tenant_transaction(context) as session:
        await session.execute(text("SELECT FROM erasures FOR UPDATE"))
        await erasures.carry_out(context)
        assert left(probe, context) == before


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("kill", [True, False], ids=["its connection ends", "its process ends"])
async def test_an_erasure_that_is_cut_off_amid_any_table_is_not_done_and_another_worker_ends_it(
    *,
    database: Database,
    erasures: Erasures,
    probe: Probe,
    context: RequestContext,
    table: str,
    kill: bool,
) -> None:
    neighbour = RequestContext.of_process("probe", uuid4())
    for each in (context, neighbour):
        await fill(database, each)
    of_the_neighbour = left(probe, neighbour)
    await erasures.note(context.organization)
    with stuck_at(probe, table, context) as waiting:
        working = asyncio.create_task(erasures.carry_out(context))
        await until(lambda: waiting() != [])
        if kill:
            probe.look("SELECT pg_terminate_backend(%s)", waiting()[0])
            with pytest.raises(Unavailable):
                await working
        else:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
        assert left(probe, context)[table]
        assert erased_at(probe, context) is None
    await erasures.round()
    assert not left(probe, context)
    assert erased_at(probe, context) is not None
    assert left(probe, neighbour) == of_the_neighbour


async def test_told_again_that_it_is_erased_nothing_changes(
    database: Database, erasures: Erasures, probe: Probe, context: RequestContext
) -> None:
    await fill(database, context)
    noted = []
    for _ in range(3):
        await erasures.handler(OrganizationErased(), context, None)  # type: ignore[arg-type]
        noted += probe.look(
            "SELECT asked_at, erased_at FROM erasures WHERE organization_id = %s", context.organization
        )
    assert len(noted) == 3
    assert len(set(noted)) == 1
    assert not left(probe, context)


@contextmanager
def stuck_at(probe: Probe, table: str, context: RequestContext) -> Iterator[Callable[[], list[int]]]:
    """Hold a row of a table, whichever; yields what tells who waits for it."""
    with psycopg.connect(probe.superuser_url().reveal()) as holder:
        holder.execute(
            f"SELECT FROM {probe.schema}.{table} WHERE organization_id = %s ORDER BY random() LIMIT 1 FOR UPDATE",
            [context.organization],
        )
        pid = holder.info.backend_pid
        yield lambda: [
            row[0]
            for row in probe.look(
                "SELECT pid FROM pg_stat_activity WHERE %s = ANY (pg_blocking_pids(pid))", pid
            )
        ]


def erased_at(probe: Probe, context: RequestContext) -> object:
    """When nothing was left."""
    [(moment,)] = probe.look(
        "SELECT erased_at FROM erasures WHERE organization_id = %s", context.organization
    )
    return moment
