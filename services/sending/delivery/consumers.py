"""Events in: batches of which messages were approved, those of campaigns and those of single messages each by themselves."""

from contextlib import suppress
from uuid import UUID

from chassis.consumer import Consumer, idempotent
from chassis.context import RequestContext
from chassis.database import Database
from chassis.events import EventBus
from chassis.identifiers import parse_id
from flownurture.suppression.v1.events_pb2 import MessagesApproved, SendsApproved
from services.sending.delivery.smtp.pool import NoAnswer
from services.sending.delivery.worker import Worker
from services.sending.gathering import Gathering

# Each waits until what it orders is handed over, and those that come for one organization meanwhile go together.
_SINGLE_MESSAGES_AT_ONCE = 128
_GROUPS_OF_AN_ORGANIZATION = 16
# As many as a batch of a campaign has.
_MESSAGES_OF_A_GROUP = 250


def approved_consumers(bus: EventBus, database: Database, worker: Worker) -> list[Consumer]:
    """Readers of the streams SENDS_APPROVED and MESSAGES_APPROVED."""
    gathering = Gathering[UUID](worker.deliver, groups=_GROUPS_OF_AN_ORGANIZATION, size=_MESSAGES_OF_A_GROUP)

    async def on_sends(event: SendsApproved, context: RequestContext) -> None:
        # The batch itself says when to look again; kept in the stream, those of a dead relay would fill it for all others.
        with suppress(NoAnswer):
            await worker.deliver(context, parse_id(event.batch_id))

    async def on_messages(event: MessagesApproved, context: RequestContext) -> None:
        with suppress(NoAnswer):
            await gathering.work_on(context, parse_id(event.batch_id), event.message_count)

    return [
        Consumer(
            bus,
            stream="SENDS_APPROVED",
            durable="delivery",
            database=database,
            handlers={SendsApproved: idempotent(on_sends)},
        ),
        Consumer(
            bus,
            stream="MESSAGES_APPROVED",
            durable="delivery",
            database=database,
            handlers={MessagesApproved: idempotent(on_messages)},
            concurrency=_SINGLE_MESSAGES_AT_ONCE,
        ),
    ]
