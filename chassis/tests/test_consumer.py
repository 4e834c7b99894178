"""Reading events: each takes effect once, none is lost, and one that cannot be handled stops no other."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any
from uuid import uuid4

import nats
import pytest
from google.protobuf.message import Message
from nats.js.api import ConsumerInfo
from prometheus_client import REGISTRY
from sqlalchemy import text

from chassis import tracing
from chassis.consumer import CONCURRENCY, Consumer, Handler, idempotent, transactional
from chassis.context import ActorKind, RequestContext
from chassis.database import Database, TenantSession
from chassis.errors import Unavailable
from chassis.events import BusClosed, EventBus
from chassis.identifiers import new_id
from chassis.tests.broker import PASSWORD, Broker, provision
from chassis.tests.deadlines import until
from chassis.tests.probe import Probe
from flownurture.contacts.v1.events_pb2 import ContactsDeleted
from flownurture.events.v1.envelope_pb2 import Envelope
from flownurture.identity.v1.events_pb2 import OrganizationCreated

INSERT = text("INSERT INTO things (name) VALUES (:name)")
SHORT = (0.01, 0.01)
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def enveloped(context: RequestContext, event: Message) -> Envelope:
    return Envelope(
        id=str(new_id()),
        organization_id=str(context.organization),
        type=event.DESCRIPTOR.full_name,
        traceparent=TRACE,
        payload=event.SerializeToString(),
    )


class Stream:
    """A stream of one test, into which it puts what it likes."""

    def __init__(self, broker: Broker, database: Database, bus: EventBus, name: str) -> None:
        self.broker, self.database, self.bus, self.name = broker, database, bus, name

    async def put(self, *messages: bytes | Envelope) -> None:
        client = await nats.connect(self.broker.url, user="probe", password=PASSWORD)
        for message in messages:
            data = message if isinstance(message, bytes) else message.SerializeToString()
            await client.jetstream().publish(f"flownurture.{self.name}.fact", data)
        await client.close()

    def consumer(
        self, handler: Handler, event: type[Message] = OrganizationCreated, backoff: Sequence[float] = SHORT
    ) -> Consumer:
        return Consumer(
            self.bus,
            stream=self.name,
            durable="probe",
            database=self.database,
            handlers={event: handler},
            backoff=backoff,
        )

    async def info(self) -> ConsumerInfo:
        info: ConsumerInfo = await self.bus.jetstream.consumer_info(self.name, "probe")
        return info

    async def read_to_the_end(self) -> bool:
        info = await self.info()
        return info.num_pending == 0 and info.num_ack_pending == 0


@asynccontextmanager
async def running(consumer: Consumer) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(consumer.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait({task})


@pytest.fixture
async def stream(broker: Broker, database: Database, bus: EventBus) -> Stream:
    return await made(broker, database, bus)


async def made(broker: Broker, database: Database, bus: EventBus, ack_wait: float = 30) -> Stream:
    name = f"S{uuid4().hex}"
    await provision(broker.url, name, f"flownurture.{name}.>", ack_wait=ack_wait)
    return Stream(broker, database, bus, name)


async def add_thing(event: OrganizationCreated, _: RequestContext, session: TenantSession) -> None:
    await session.execute(INSERT, {"name": event.name})


def things(probe: Probe, context: RequestContext) -> list[str]:
    rows = probe.look(
        "SELECT name FROM things WHERE organization_id = %s ORDER BY name", context.organization
    )
    return [name for (name,) in rows]


def parked(probe: Probe, stream: Stream) -> list[tuple[Any, ...]]:
    return probe.look("SELECT deliveries, error, envelope FROM dead_letters WHERE stream = %s", stream.name)


def shown(name: str, stream: Stream) -> float:
    return REGISTRY.get_sample_value(name, {"stream": stream.name}) or 0.0


async def test_a_reader_shows_what_waits_for_it_and_how_old_what_it_has_is(
    stream: Stream, context: RequestContext
) -> None:
    go_on = asyncio.Event()

    async def wait(_: OrganizationCreated, __: RequestContext) -> None:
        await go_on.wait()

    await stream.put(*[enveloped(context, OrganizationCreated()) for _ in range(CONCURRENCY + 5)])
    async with running(stream.consumer(idempotent(wait))):
        await until(lambda: shown("flownurture_events_pending", stream) == 5)
        await until(lambda: shown("flownurture_events_oldest_seconds", stream) > 0.1)
        go_on.set()
        await until(lambda: shown("flownurture_event_age_seconds_count", stream) == CONCURRENCY + 5)
    assert shown("flownurture_events_pending", stream) == 0
    assert shown("flownurture_events_oldest_seconds", stream) == 0


def counted(stream: Stream, outcome: str) -> float | None:
    labels = {"stream": stream.name, "outcome": outcome}
    return REGISTRY.get_sample_value("flownurture_events_read_total", labels)


def failing(times: int, error: Exception) -> tuple[Callable[..., Awaitable[None]], list[int]]:
    """A handler that raises so many times, and how often it was called."""
    calls: list[int] = []

    async def handle(*_: object) -> None:
        calls.append(len(calls))
        if len(calls) <= times:
            raise error

    return handle, calls


async def test_an_event_delivered_many_times_takes_effect_once(
    stream: Stream, probe: Probe, context: RequestContext
) -> None:
    envelopes = [enveloped(context, OrganizationCreated(name=f"{number:02}")) for number in range(20)]
    await stream.put(*envelopes * 5)
    async with running(stream.consumer(transactional(add_thing))):
        await until(stream.read_to_the_end)
    assert things(probe, context) == [f"{number:02}" for number in range(20)]
    assert parked(probe, stream) == []


async def test_a_failed_attempt_leaves_nothing_and_the_next_one_takes_effect(
    stream: Stream, probe: Probe, context: RequestContext
) -> None:
    attempts: list[str] = []

    async def fail_once(event: OrganizationCreated, context: RequestContext, session: TenantSession) -> None:
        await add_thing(event, context, session)
        attempts.append(event.name)
        if len(attempts) == 1:
            raise RuntimeError("halfway")

    await stream.put(enveloped(context, OrganizationCreated(name="one")))
    async with running(stream.consumer(transactional(fail_once))):
        await until(stream.read_to_the_end)
    assert (len(attempts), things(probe, context)) == (2, ["one"])


async def test_events_read_while_the_broker_dies_again_and_again_each_take_effect_once(
    mortal_broker: Broker, database: Database, probe: Probe, context: RequestContext
) -> None:
    def has_things(count: int) -> bool:
        return len(things(probe, context)) == count

    async with EventBus(mortal_broker.settings) as bus:
        stream = await made(mortal_broker, database, bus, ack_wait=1)
        async with running(stream.consumer(transactional(add_thing))):
            for kill in range(5):
                events = [OrganizationCreated(name=f"{kill} {number:03}") for number in range(100)]
                await stream.put(*(enveloped(context, event) for event in events))
                await asyncio.to_thread(mortal_broker.kill)
                await asyncio.to_thread(mortal_broker.start)
                await until(partial(has_things, 100 * (kill + 1)))
    assert len(things(probe, context)) == 500
    assert parked(probe, stream) == []


async def test_events_read_while_database_connections_die_each_take_effect_once(
    stream: Stream, probe: Probe, context: RequestContext
) -> None:
    def have_arrived(count: int) -> bool:
        return len(things(probe, context)) >= count

    await stream.put(*(enveloped(context, OrganizationCreated(name=f"{number:03}")) for number in range(400)))
    async with running(stream.consumer(transactional(add_thing))):
        for count in range(0, 400, 50):
            await until(partial(have_arrived, count))
            probe.look(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s",
                f"{probe.schema}_app",
            )
        await until(stream.read_to_the_end)
    assert len(things(probe, context)) == 400
    assert parked(probe, stream) == []


async def test_a_silent_broker_is_asked_again(
    stream: Stream, probe: Probe, context: RequestContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chassis.pull._SILENT_AFTER_SECONDS", 0.25)
    async with running(stream.consumer(transactional(add_thing))):
        for number in range(20):
            await stream.put(enveloped(context, OrganizationCreated(name=f"{number:02}")))
        await until(lambda: len(things(probe, context)) == 20)
        await until(stream.read_to_the_end)


async def test_a_consumer_that_is_not_there_yet_is_read_once_it_is(
    broker: Broker, database: Database, bus: EventBus, probe: Probe, context: RequestContext
) -> None:
    stream = Stream(broker, database, bus, f"S{uuid4().hex}")
    async with running(stream.consumer(transactional(add_thing))):
        await provision(broker.url, stream.name, f"flownurture.{stream.name}.>")
        await stream.put(enveloped(context, OrganizationCreated(name="late")))
        await until(lambda: things(probe, context) == ["late"])


async def test_a_poison_event_is_parked_after_its_deliveries_and_stops_no_other(
    stream: Stream, probe: Probe, context: RequestContext
) -> None:
    async def choke(event: OrganizationCreated, context: RequestContext, session: TenantSession) -> None:
        await add_thing(event, context, session)
        if event.name == "poison":
            raise RuntimeError("cannot swallow this")

    poison = enveloped(context, OrganizationCreated(name="poison"))
    await stream.put(poison, *(enveloped(context, OrganizationCreated(name=name)) for name in "ab"))
    async with running(stream.consumer(transactional(choke))):
        await until(stream.read_to_the_end)
    assert things(probe, context) == ["a", "b"]
    assert parked(probe, stream) == [(3, "RuntimeError: cannot swallow this", poison.SerializeToString())]
    assert [counted(stream, outcome) for outcome in ("handled", "failed", "parked")] == [2, 2, 1]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda envelope: b"\xff\xff not an envelope",
        lambda envelope: Envelope(id="no id", type=envelope.type, organization_id=envelope.organization_id),
        lambda envelope: Envelope(id=envelope.id, type=envelope.type, organization_id="nobody"),
        lambda envelope: Envelope(id=envelope.id, type=envelope.type, payload=b"\xff\xff"),
    ],
    ids=["garbage", "no id", "no organization", "no payload"],
)
async def test_what_cannot_be_decoded_is_parked_at_once(
    stream: Stream, probe: Probe, context: RequestContext, spoil: Callable[[Envelope], bytes | Envelope]
) -> None:
    handle, calls = failing(0, RuntimeError())
    await stream.put(spoil(enveloped(context, OrganizationCreated())))
    async with running(stream.consumer(idempotent(handle))):
        await until(stream.read_to_the_end)
    [(deliveries, error, _)] = parked(probe, stream)
    assert (deliveries, error.partition(":")[0], calls) == (1, "Undecodable", [])


async def test_an_event_of_a_type_nobody_handles_is_passed_over(
    stream: Stream, probe: Probe, context: RequestContext
) -> None:
    unknown = enveloped(context, OrganizationCreated())
    unknown.type = "flownurture.future.v9.NotYetThoughtOf"
    await stream.put(enveloped(context, ContactsDeleted()), unknown)
    async with running(stream.consumer(transactional(add_thing))):
        await until(stream.read_to_the_end)
    assert parked(probe, stream) == []


async def test_an_event_waits_as_long_as_something_else_does_not_answer(
    stream: Stream, probe: Probe, context: RequestContext
) -> None:
    handle, calls = failing(10, Unavailable())
    await stream.put(enveloped(context, OrganizationCreated()))
    async with running(stream.consumer(idempotent(handle))):
        await until(lambda: len(calls) == 11)
        await until(stream.read_to_the_end)
    assert parked(probe, stream) == []


async def test_work_that_takes_longer_than_the_brokers_patience_is_not_given_to_another(
    broker: Broker,
    database: Database,
    bus: EventBus,
    context: RequestContext,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("chassis.consumer._STILL_AT_IT_SECONDS", 0.1)
    stream = await made(broker, database, bus, ack_wait=0.5)
    calls: list[OrganizationCreated] = []

    async def take_long(event: OrganizationCreated, _: RequestContext) -> None:
        calls.append(event)
        await asyncio.sleep(1.2)

    await stream.put(enveloped(context, OrganizationCreated()))
    async with running(stream.consumer(idempotent(take_long))):
        await until(lambda: bool(calls))
        await until(stream.read_to_the_end)
    assert len(calls) == 1


async def test_a_handler_acts_as_the_process_in_the_events_organization_and_trace(
    stream: Stream, context: RequestContext
) -> None:
    seen: list[tuple[RequestContext, str]] = []

    async def look(_: OrganizationCreated, context: RequestContext) -> None:
        seen.append((context, tracing.trace_id()))

    envelope = enveloped(context, OrganizationCreated())
    await stream.put(envelope)
    async with running(stream.consumer(idempotent(look))):
        await until(lambda: bool(seen))
    [(given, trace_id)] = seen
    assert (given.issuer, given.actor_kind, given.organization) == (
        "probe",
        ActorKind.PROCESS,
        context.organization,
    )
    assert (given.request_id, trace_id) == (envelope.id, TRACE.split("-")[1])


async def test_no_more_events_are_taken_than_can_be_handled_at_once(
    stream: Stream, context: RequestContext
) -> None:
    under_way, most = 0, 0
    gate = asyncio.Event()

    async def wait_at_the_gate(_: OrganizationCreated, __: RequestContext) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await gate.wait()
        under_way -= 1

    await stream.put(*(enveloped(context, OrganizationCreated()) for _ in range(3 * CONCURRENCY)))
    async with running(stream.consumer(idempotent(wait_at_the_gate))):
        await until(lambda: under_way == CONCURRENCY)
        assert (await stream.info()).num_ack_pending == CONCURRENCY
        gate.set()
        await until(stream.read_to_the_end)
    assert most == CONCURRENCY


async def test_a_consumer_that_is_stopped_finishes_what_is_under_way(
    stream: Stream, probe: Probe, context: RequestContext
) -> None:
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def take_a_while(
        event: OrganizationCreated, context: RequestContext, session: TenantSession
    ) -> None:
        begun.set()
        await may_end.wait()
        await add_thing(event, context, session)

    await stream.put(enveloped(context, OrganizationCreated(name="finished")))
    async with running(stream.consumer(transactional(take_a_while))) as task:
        await begun.wait()
        task.cancel()
        asyncio.get_running_loop().call_soon(may_end.set)
        await asyncio.wait({task})
    assert things(probe, context) == ["finished"]
    await until(stream.read_to_the_end)


async def test_a_connection_closed_for_good_ends_the_consumer(broker: Broker, database: Database) -> None:
    async with EventBus(broker.settings) as bus:
        stream = await made(broker, database, bus)
        async with running(stream.consumer(transactional(add_thing))) as task:
            await asyncio.sleep(0)
            await bus.client.close()
            with pytest.raises(BusClosed):
                await task
