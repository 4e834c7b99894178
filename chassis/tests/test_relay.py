"""The relay: whatever was committed reaches its stream, once, through crashes of the broker and of itself."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from uuid import UUID

import nats
import pytest

from chassis.context import RequestContext
from chassis.database import Database, RoleDatabase
from chassis.events import BusClosed, EventBus
from chassis.relay import Relay, replay
from chassis.tests.broker import PASSWORD, Broker, provision
from chassis.tests.deadlines import until
from chassis.tests.probe import Probe
from flownurture.contacts.v1.events_pb2 import ContactsDeleted
from flownurture.events.v1.envelope_pb2 import Envelope
from flownurture.identity.v1.events_pb2 import OrganizationCreated


@asynccontextmanager
async def relaying(relay: Relay) -> AsyncIterator[None]:
    task = asyncio.create_task(relay.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def publish(database: Database, context: RequestContext, count: int = 1) -> None:
    async with database.tenant_transaction(context) as session:
        for number in range(count):
            session.publish(OrganizationCreated(name=str(number)))


def ids(probe: Probe, context: RequestContext, where: str = "true") -> list[UUID]:
    rows = probe.look(
        f"SELECT id FROM outbox WHERE organization_id = %s AND {where} ORDER BY id", context.organization
    )
    return [identifier for (identifier,) in rows]


async def in_stream(broker: Broker, stream: str, context: RequestContext) -> Counter[UUID]:
    """How often each event of an organization stands in a stream."""
    client = await nats.connect(broker.url, user="probe", password=PASSWORD)
    jetstream = client.jetstream()
    subscription = await jetstream.subscribe(f"flownurture.{stream.lower()}.>", ordered_consumer=True)
    found: Counter[UUID] = Counter()
    for _ in range((await jetstream.stream_info(stream)).state.messages):
        envelope = Envelope.FromString((await subscription.next_msg(timeout=5)).data)
        if envelope.organization_id == str(context.organization):
            found[UUID(envelope.id)] += 1
    await client.close()
    return found


@pytest.fixture(scope="module")
async def identity_stream(broker: Broker) -> None:
    await provision(broker.url, "IDENTITY", "flownurture.identity.>")


@pytest.fixture
def relay(database: Database, relay_database: RoleDatabase, bus: EventBus, identity_stream: None) -> Relay:
    return Relay(relay_database, bus, "identity", database.outbox_written)


async def test_a_committed_event_reaches_its_stream_and_is_marked(
    database: Database, relay: Relay, broker: Broker, probe: Probe, context: RequestContext
) -> None:
    async with relaying(relay):
        await publish(database, context, 450)
        await until(lambda: not ids(probe, context, "published_at IS NULL"))
    assert await in_stream(broker, "IDENTITY", context) == Counter(ids(probe, context))


async def test_what_another_process_wrote_is_found_without_a_wake(
    probe: Probe, relay: Relay, context: RequestContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chassis.relay._POLL_SECONDS", 0.05)
    async with Database(probe.url("app"), schema=probe.schema) as anothers, relaying(relay):
        await publish(anothers, context)
        await until(lambda: not ids(probe, context, "published_at IS NULL"))


async def test_a_relay_leaves_other_domains_alone(
    database: Database, relay: Relay, probe: Probe, context: RequestContext
) -> None:
    async with database.tenant_transaction(context) as session:
        session.publish(ContactsDeleted())
    await relay.publish_batch()
    assert len(ids(probe, context, "published_at IS NULL")) == 1


async def test_a_crash_between_publishing_and_marking_repeats_nothing_in_the_stream(
    database: Database, relay: Relay, broker: Broker, probe: Probe, context: RequestContext
) -> None:
    await publish(database, context, 3)
    await relay.publish_batch()
    probe.look(
        "UPDATE outbox SET published_at = NULL WHERE organization_id = %s RETURNING id", context.organization
    )
    await relay.publish_batch()
    assert ids(probe, context, "published_at IS NULL") == []
    assert await in_stream(broker, "IDENTITY", context) == Counter(ids(probe, context))


async def test_events_written_while_the_broker_dies_again_and_again_all_arrive_once(
    database: Database,
    relay_database: RoleDatabase,
    mortal_broker: Broker,
    probe: Probe,
    context: RequestContext,
) -> None:
    await provision(mortal_broker.url, "IDENTITY", "flownurture.identity.>")
    async with (
        EventBus(mortal_broker.settings) as bus,
        relaying(Relay(relay_database, bus, "identity", database.outbox_written)),
    ):
        for _ in range(4):
            await publish(database, context, 150)
            await asyncio.to_thread(mortal_broker.kill)
            await publish(database, context, 50)
            await asyncio.to_thread(mortal_broker.start)
        await until(lambda: not ids(probe, context, "published_at IS NULL"), seconds=30)
    assert await in_stream(mortal_broker, "IDENTITY", context) == Counter(ids(probe, context))


async def test_a_lost_stream_is_filled_again_from_the_outbox(
    database: Database,
    relay_database: RoleDatabase,
    mortal_broker: Broker,
    probe: Probe,
    context: RequestContext,
) -> None:
    began = datetime.now(UTC) - timedelta(seconds=1)
    await provision(mortal_broker.url, "IDENTITY", "flownurture.identity.>")
    async with EventBus(mortal_broker.settings) as bus:
        relay = Relay(relay_database, bus, "identity", asyncio.Event())
        await publish(database, context, 20)
        await relay.publish_batch()
        await bus.jetstream.delete_stream("IDENTITY")
        await provision(mortal_broker.url, "IDENTITY", "flownurture.identity.>")
        await replay(relay_database, began)
        while await relay.publish_batch():
            pass
    assert await in_stream(mortal_broker, "IDENTITY", context) == Counter(ids(probe, context))


async def test_only_published_events_are_forgotten_and_only_after_a_week(
    database: Database, relay: Relay, probe: Probe, context: RequestContext
) -> None:
    await publish(database, context, 3)
    old_sent, old_waiting, new_sent = ids(probe, context)
    age = "UPDATE outbox SET created_at = now() - interval '8 days' WHERE id = ANY(%s) RETURNING id"
    probe.look(age, [old_sent, old_waiting])
    probe.look(
        "UPDATE outbox SET published_at = created_at WHERE id = ANY(%s) RETURNING id", [old_sent, new_sent]
    )
    await relay.prune()
    assert ids(probe, context) == [old_waiting, new_sent]


async def test_a_connection_closed_for_good_ends_the_relay(
    database: Database, relay_database: RoleDatabase, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chassis.relay._POLL_SECONDS", 0.05)
    async with EventBus(broker.settings) as bus:
        await bus.client.close()
        with pytest.raises(ExceptionGroup) as ended:
            await Relay(relay_database, bus, "nobody", database.outbox_written).run()
    assert ended.group_contains(BusClosed)
