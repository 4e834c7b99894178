"""Events in: batches of which messages were approved."""

from chassis.consumer import Consumer, idempotent
from chassis.context import RequestContext
from chassis.database import Database
from chassis.events import EventBus
from chassis.identifiers import parse_id
from flownurture.suppression.v1.events_pb2 import SendsApproved
from services.sending.delivery.smtp.pool import NoAnswer
from services.sending.delivery.worker import Worker


def approved_consumer(bus: EventBus, database: Database, worker: Worker) -> Consumer:
    """The reader of the stream SENDS_APPROVED."""

    async def on_sends_approved(event: SendsApproved, context: RequestContext) -> None:
        try:
            await worker.deliver(context, parse_id(event.batch_id))
        except NoAnswer:
            # The batch itself says when to look again; kept in the stream, those of a dead relay would fill it for all others.
            return

    return Consumer(
        bus,
        stream="SENDS_APPROVED",
        durable="delivery",
        database=database,
        handlers={SendsApproved: idempotent(on_sends_approved)},
    )
