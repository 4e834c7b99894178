"""What a process shows of itself while it is busy: operators see that it is before its clients do."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

from prometheus_client import REGISTRY
from sqlalchemy import text

from chassis.context import RequestContext
from chassis.database import Database, RoleDatabase
from chassis.events import EventBus
from chassis.loop_lag import LoopLag
from chassis.secret import Secret
from chassis.settings import EventsSettings
from chassis.soundings import Soundings, events_of
from chassis.tests.broker import PASSWORD, Broker
from chassis.tests.deadlines import until
from chassis.tests.probe import Probe
from flownurture.identity.v1.events_pb2 import OrganizationCreated


def figure(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, labels)


@contextmanager
def at_work(task: asyncio.Task[None]) -> Iterator[None]:
    try:
        yield
    finally:
        task.cancel()


async def test_a_loop_that_was_blocked_says_for_how_long() -> None:
    def late() -> float:
        in_all = figure("flownurture_event_loop_lag_seconds_count")
        in_time = figure("flownurture_event_loop_lag_seconds_bucket", le="0.25")
        assert in_all is not None
        assert in_time is not None
        return in_all - in_time

    before = late()
    with at_work(asyncio.create_task(LoopLag().run())):
        await asyncio.sleep(0)
        time.sleep(1.4)  # noqa: ASYNC251 - what this is about
        await until(lambda: late() == before + 1)


async def test_a_pool_shows_what_of_it_is_in_use_and_who_had_to_wait(
    probe: Probe, context: RequestContext
) -> None:
    role = f"{probe.schema}_app"
    async with Database(probe.url("app"), schema=probe.schema, pool_size=1) as database:

        def waited() -> float:
            return figure("flownurture_database_wait_seconds_sum", role=role) or 0.0

        async def one() -> None:
            async with database.tenant_transaction(context):
                pass

        before, in_use = waited(), figure("flownurture_database_connections", role=role)
        assert in_use is not None
        async with database.tenant_transaction(context) as session:
            assert figure("flownurture_database_connections", role=role) == in_use + 1
            second = asyncio.create_task(one())
            await asyncio.sleep(0)
            it_waits = time.perf_counter()
            await session.execute(text("SELECT pg_sleep(0.1)"))
            for_long = time.perf_counter() - it_waits
        await second
        assert waited() >= before + for_long
        assert figure("flownurture_database_connections", role=role) == in_use
        assert (figure("flownurture_database_connections_limit", role=role) or 0) >= 1


async def test_events_that_are_not_published_are_counted_with_the_age_of_the_oldest(
    database: Database, relay_database: RoleDatabase, context: RequestContext, probe: Probe
) -> None:
    domain = uuid4().hex
    soundings = Soundings(relay_database, events_of(domain))
    await soundings.round()
    assert figure("flownurture_backlog_items", kind="outbox", part=domain) == 0
    async with database.tenant_transaction(context) as session:
        for _ in range(3):
            session.publish(OrganizationCreated())
    probe.look(
        "UPDATE outbox SET domain = %s, created_at = now() - interval '90 seconds' WHERE organization_id = %s "
        "RETURNING id",
        domain,
        context.organization,
    )
    await soundings.round()
    assert figure("flownurture_backlog_items", kind="outbox", part=domain) == 3
    assert (figure("flownurture_backlog_oldest_seconds", kind="outbox", part=domain) or 0) >= 90


async def test_parked_events_are_counted_until_somebody_has_seen_to_them(
    relay_database: RoleDatabase, probe: Probe
) -> None:
    process = uuid4().hex
    soundings = Soundings(relay_database, events_of(process))
    probe.look(
        "INSERT INTO dead_letters (process, stream, subject, envelope, deliveries, error) "
        "VALUES (%s, %s, '', '', 1, '') RETURNING id",
        process,
        f"S{process}",
    )
    await soundings.round()
    assert figure("flownurture_backlog_items", kind="dead_letters", part=f"S{process}") == 1
    probe.look("DELETE FROM dead_letters WHERE process = %s RETURNING id", process)
    await soundings.round()
    assert figure("flownurture_backlog_items", kind="dead_letters", part=f"S{process}") is None


async def test_what_cannot_be_looked_up_is_not_shown_as_it_was(
    relay_database: RoleDatabase, scheduler_database: RoleDatabase
) -> None:
    process = uuid4().hex
    await Soundings(relay_database, events_of(process)).round()
    assert figure("flownurture_backlog_items", kind="outbox", part=process) == 0
    wrong = Soundings(relay_database, {"outbox": events_of(process)["outbox"]})
    await wrong.round()
    # A role without the right: what a database that does not answer is to whoever asks.
    wrong._database = scheduler_database
    await wrong.round()
    assert figure("flownurture_backlog_items", kind="outbox", part=process) is None


async def test_a_process_shows_whether_it_reaches_the_bus(mortal_broker: Broker) -> None:
    settings = EventsSettings(nats_url=mortal_broker.url, nats_user="probe", nats_password=Secret(PASSWORD))
    async with EventBus(settings):
        assert figure("flownurture_bus_connected") == 1
        mortal_broker.kill()
        await until(lambda: figure("flownurture_bus_connected") == 0)
        mortal_broker.start()
        await until(lambda: figure("flownurture_bus_connected") == 1)
