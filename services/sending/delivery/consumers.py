"""Events in: batches of which messages were approved."""

from chassis.consumer import Consumer, idempotent
from chassis.context import RequestContext
from chassis.database import Database
from chassis.events import EventBus
from chassis.identifiers import parse_id
from flownurture.suppression.v1.events_pb2 import SendsApproved
from services.sending.delivery.worker import Worker


def approved_consumer(bus: EventBus, database: Database, worker: Worker) -> Consumer:
    """The reader of the stream SENDS_APPROVED."""

    async def on_sends_approved(event: SendsApproved, context: RequestContext) -> None:
        await worker.deliver(context, parse_id(event.batch_id))

    return Consumer(
        bus,
        stream="SENDS_APPROVED",
        durable="delivery",
        database=database,
        handlers={SendsApproved: idempotent(on_sends_approved)},
    )
