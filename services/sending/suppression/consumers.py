"""Events in: batches to decide on, and bounces to tell of."""

from chassis.consumer import Consumer, idempotent, transactional
from chassis.context import RequestContext
from chassis.database import Database, TenantSession
from chassis.events import EventBus
from chassis.identifiers import parse_id
from flownurture.delivery.v1.events_pb2 import MessagesSettled
from flownurture.sending.v1.events_pb2 import SendsRequested
from flownurture.sending.v1.messages_pb2 import MESSAGE_STATUS_BOUNCED
from services.sending.suppression.bounces import announce_bounces_of
from services.sending.suppression.veto import decide


def consumers(bus: EventBus, database: Database) -> list[Consumer]:
    """Readers of the streams SENDS_REQUESTED and DELIVERY."""

    async def on_sends_requested(event: SendsRequested, context: RequestContext) -> None:
        async with database.tenant_transaction(context) as session:
            await decide(session, parse_id(event.batch_id))

    return [
        Consumer(
            bus,
            stream="SENDS_REQUESTED",
            durable="suppression",
            database=database,
            handlers={SendsRequested: idempotent(on_sends_requested)},
        ),
        Consumer(
            bus,
            stream="DELIVERY",
            durable="suppression",
            database=database,
            handlers={MessagesSettled: transactional(on_messages_settled)},
        ),
    ]


async def on_messages_settled(
    event: MessagesSettled, context: RequestContext, session: TenantSession
) -> None:
    """Tell of the addresses that bounced for good."""
    bounced = {
        parse_id(outcome.message_id) for outcome in event.outcomes if outcome.status == MESSAGE_STATUS_BOUNCED
    }
    if bounced:
        await announce_bounces_of(session, bounced)
