"""Reading events: each takes effect once, however often it is delivered, and none is lost or blocks the others."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeAlias, TypeVar
from uuid import UUID

from google.protobuf.message import DecodeError, Message
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from sqlalchemy import text

from chassis import dead_letters, logs, metrics, tracing
from chassis.context import RequestContext
from chassis.database import Database, TenantSession
from chassis.errors import Unavailable
from chassis.events import EventBus
from chassis.pull import Pull
from flownurture.events.v1.envelope_pb2 import Envelope

MessageType = TypeVar("MessageType", bound=Message)

CONCURRENCY = 16
HANDLED = "handled"
# Seconds before each further delivery of an event that failed; after one more failure it is parked.
BACKOFF = (1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 60.0)
# A third of the shortest ack_wait.
_STILL_AT_IT_SECONDS = 3.0
FINISH_WITHIN_SECONDS = 20.0

_RECEIVE = text("INSERT INTO inbox (reader, event_id) VALUES (:reader, :event_id) ON CONFLICT DO NOTHING")


@dataclass(frozen=True, slots=True)
class Inbox:
    """The place of one event in a reader's inbox."""

    database: Database
    reader: str
    event_id: UUID
    occurred_at: datetime

    async def receive(self, session: TenantSession) -> bool:
        """Note the event in this transaction; False when an earlier one has, and this is a repetition."""
        noted = await session.execute(_RECEIVE, {"reader": self.reader, "event_id": self.event_id})
        return noted.rowcount == 1


Handler: TypeAlias = Callable[[Any, RequestContext, Inbox], Awaitable[None]]


def transactional(act: Callable[[Any, RequestContext, TenantSession], Awaitable[None]]) -> Handler:
    """A handler whose whole effect is in its session: `act(event, context, session)` happens exactly once."""

    async def handle(event: Message, context: RequestContext, inbox: Inbox) -> None:
        async with inbox.database.tenant_transaction(context) as session:
            if await inbox.receive(session):
                await act(event, context, session)

    return handle


def idempotent(act: Callable[[Any, RequestContext], Awaitable[None]]) -> Handler:
    """A handler that may run again for the same event and finds in its rows what is left to do."""

    async def handle(event: Message, context: RequestContext, _: Inbox) -> None:
        await act(event, context)

    return handle


class Undecodable(Exception):
    """The bytes are no envelope, or its payload is not what the envelope says."""


class Consumer:
    """Reads a stream through a durable consumer that is provisioned already, up to `concurrency` events at a time.

    An event of a type without a handler is acknowledged and forgotten. One that fails comes again after a pause from
    `backoff` and is parked among the dead letters when that is used up; one that fails because something else does
    not answer (Unavailable) comes again for as long as that lasts.
    """

    def __init__(
        self,
        bus: EventBus,
        *,
        stream: str,
        durable: str,
        database: Database,
        handlers: Mapping[type[Message], Handler],
        backoff: Sequence[float] = BACKOFF,
        concurrency: int = CONCURRENCY,
    ) -> None:
        self.stream = stream
        self.durable = durable
        self._bus = bus
        self._database = database
        self._handlers = {event.DESCRIPTOR.full_name: (event, handler) for event, handler in handlers.items()}
        self._backoff = backoff
        self._concurrency = concurrency
        # When what is in hand came into the stream, by its number there.
        self._in_hand: dict[int, datetime] = {}
        metrics.EVENTS_OLDEST.labels(stream).set_function(self._oldest)
        self._pending = metrics.EVENTS_PENDING.labels(stream)
        self._age = metrics.EVENT_AGE.labels(stream)

    async def run(self) -> None:
        """Run until cancelled, then finish what is under way; raises BusClosed when no event can come any more."""
        under_way: set[asyncio.Task[None]] = set()
        try:
            async with Pull(self._bus, self.stream, self.durable) as pull:
                while True:
                    while len(under_way) >= self._concurrency:
                        await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
                    message = await pull.receive(self._concurrency - len(under_way))
                    task = asyncio.create_task(self._settle(message))
                    under_way.add(task)
                    task.add_done_callback(under_way.discard)
        finally:
            await _finished(under_way)

    async def handle(self, data: bytes) -> None:
        """Handle one envelope; raises Undecodable, and what its handler raises."""
        envelope = _parsed(Envelope, data)
        if envelope.type not in self._handlers:
            return
        event_type, handler = self._handlers[envelope.type]
        event = _parsed(event_type, envelope.payload)
        occurred_at = envelope.occurred_at.ToDatetime(tzinfo=UTC)
        inbox = Inbox(self._database, self.durable, _id(envelope.id), occurred_at)
        context = RequestContext.of_process(
            self.durable, _id(envelope.organization_id), request_id=envelope.id
        )
        told = {"flownurture.event_id": envelope.id, "flownurture.organization_id": envelope.organization_id}
        with (
            logs.about(context),
            tracing.span(envelope.type, envelope.traceparent, tracing.CONSUMER, told),
        ):
            await handler(event, context, inbox)

    async def _settle(self, message: Msg) -> None:
        # The delivery itself tells how many wait behind it: no right to ask JetStream is needed.
        metadata = message.metadata
        self._pending.set(metadata.num_pending)
        self._in_hand[metadata.sequence.stream] = metadata.timestamp
        try:
            outcome = await self._answered(message)
        except NatsError as error:
            # The broker did not take the answer and will deliver again.
            logs.logger().warning("event_not_settled", stream=self.stream, error=str(error))
        else:
            metrics.EVENTS_READ.labels(self.stream, outcome).inc()
            if outcome == HANDLED:
                self._age.observe(_since(metadata.timestamp))
        finally:
            self._in_hand.pop(metadata.sequence.stream, None)

    def _oldest(self) -> float:
        return max(map(_since, self._in_hand.values()), default=0.0)

    async def _answered(self, message: Msg) -> str:
        log = logs.logger().bind(stream=self.stream, subject=message.subject)
        try:
            await _kept_alive(message, self.handle(message.data))
        except Undecodable as error:
            return await self._given_up(message, error)
        except Unavailable as error:
            log.warning("event_waits", error=str(error))
            return await self._put_off(message, "waiting")
        except Exception as error:
            log.exception("event_failed")
            if message.metadata.num_delivered > len(self._backoff):
                return await self._given_up(message, error)
            return await self._put_off(message, "failed")
        await message.ack()
        return HANDLED

    async def _put_off(self, message: Msg, outcome: str) -> str:
        earlier = message.metadata.num_delivered - 1
        await message.nak(delay=self._backoff[min(earlier, len(self._backoff) - 1)])
        return outcome

    async def _given_up(self, message: Msg, error: Exception) -> str:
        try:
            await dead_letters.park(
                self._database,
                process=self.durable,
                stream=self.stream,
                subject=message.subject,
                envelope=message.data,
                deliveries=message.metadata.num_delivered,
                error=dead_letters.describe(error),
            )
        except Unavailable:
            return await self._put_off(message, "waiting")
        logs.logger().error("event_parked", stream=self.stream, subject=message.subject)
        await message.term()
        return "parked"


async def _kept_alive(message: Msg, work: Coroutine[Any, Any, None]) -> None:
    task = asyncio.create_task(work)
    try:
        while not (await asyncio.wait({task}, timeout=_STILL_AT_IT_SECONDS))[0]:
            with suppress(NatsError):
                await message.in_progress()
        await task
    finally:
        task.cancel()


async def _finished(under_way: set[asyncio.Task[None]]) -> None:
    if under_way:
        _, late = await asyncio.wait(under_way, timeout=FINISH_WITHIN_SECONDS)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)


def _since(moment: datetime) -> float:
    return max(0.0, (datetime.now(UTC) - moment).total_seconds())


def _parsed(message_type: type[MessageType], data: bytes) -> MessageType:
    try:
        return message_type.FromString(data)
    except DecodeError as error:
        raise Undecodable(f"not a {message_type.DESCRIPTOR.full_name}: {error}") from None


def _id(text_form: str) -> UUID:
    try:
        return UUID(text_form)
    except ValueError:
        raise Undecodable(f"not an id: {text_form[:40]!r}") from None
