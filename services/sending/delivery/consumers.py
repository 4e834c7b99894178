"""Events in: batches of which messages were approved, those of campaigns and those of single messages each by themselves."""

from chassis.consumer import Consumer, Handler, idempotent
from chassis.context import RequestContext
from chassis.database import Database
from chassis.events import EventBus
from chassis.identifiers import parse_id
from flownurture.suppression.v1.events_pb2 import MessagesApproved, SendsApproved
from services.sending.delivery.smtp.pool import NoAnswer
from services.sending.delivery.worker import Worker


def approved_consumers(bus: EventBus, database: Database, worker: Worker) -> list[Consumer]:
    """Readers of the streams SENDS_APPROVED and MESSAGES_APPROVED."""

    async def on_approved(event: SendsApproved | MessagesApproved, context: RequestContext) -> None:
        try:
            await worker.deliver(context, parse_id(event.batch_id))
        except NoAnswer:
            # The batch itself says when to look again; kept in the stream, those of a dead relay would fill it for all others.
            return

    handler: Handler = idempotent(on_approved)
    return [
        Consumer(
            bus,
            stream="SENDS_APPROVED",
            durable="delivery",
            database=database,
            handlers={SendsApproved: handler},
        ),
        Consumer(
            bus,
            stream="MESSAGES_APPROVED",
            durable="delivery",
            database=database,
            handlers={MessagesApproved: handler},
        ),
    ]
