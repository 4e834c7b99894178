"""Events in: batches to decide on, bounces to tell of, and what people have decided elsewhere."""

from datetime import UTC
from uuid import UUID

from chassis.consumer import Consumer, Handler, Inbox, idempotent, transactional
from chassis.context import RequestContext
from chassis.database import Database, TenantSession
from chassis.events import EventBus
from chassis.identifiers import parse_id
from flownurture.contacts.v1.events_pb2 import AddressChanged, AddressResubscribed
from flownurture.delivery.v1.events_pb2 import MessagesSettled
from flownurture.sending.v1.events_pb2 import MessagesRequested, SendsRequested
from flownurture.sending.v1.messages_pb2 import MESSAGE_STATUS_BOUNCED, MESSAGE_STATUS_FAILED
from flownurture.workflows.v1.events_pb2 import WorkflowMailsRequested
from services.sending.gathering import Gathering
from services.sending.suppression.bounces import announce_bounces_of
from services.sending.suppression.deciding import deciding_together
from services.sending.suppression.resubscriptions import Resubscriptions
from services.sending.suppression.suppressions import follow_to, welcome_back


def consumers(bus: EventBus, database: Database, resubscriptions: Resubscriptions) -> list[Consumer]:
    """Readers of the streams SENDS_REQUESTED, MESSAGES_REQUESTED, WORKFLOW_MAILS_REQUESTED, DELIVERY and CONTACTS."""

    async def on_address_resubscribed(
        event: AddressResubscribed, context: RequestContext, inbox: Inbox
    ) -> None:
        """A person wants mail again: their unsubscribe from before that no longer stands."""
        confirmed_at = event.confirmed_at.ToDatetime(tzinfo=UTC)
        await resubscriptions.add_by_event(
            context.organization, event.email_digest, confirmed_at, inbox.event_id
        )
        # Told again, it finds nothing: what was said since is newer than the ledger.
        async with database.tenant_transaction(context) as session:
            await welcome_back(session, event.email_digest)

    return [
        Consumer(
            bus,
            stream="SENDS_REQUESTED",
            durable="suppression",
            database=database,
            handlers={SendsRequested: _decided_by(deciding_together(database))},
        ),
        Consumer(
            bus,
            stream="MESSAGES_REQUESTED",
            durable="suppression",
            database=database,
            handlers={MessagesRequested: _decided_by(deciding_together(database))},
        ),
        Consumer(
            bus,
            stream="WORKFLOW_MAILS_REQUESTED",
            durable="suppression",
            database=database,
            handlers={WorkflowMailsRequested: _decided_by(deciding_together(database))},
        ),
        Consumer(
            bus,
            stream="DELIVERY",
            durable="suppression",
            database=database,
            handlers={MessagesSettled: transactional(on_messages_settled)},
        ),
        Consumer(
            bus,
            stream="CONTACTS",
            durable="suppression",
            database=database,
            handlers={
                AddressResubscribed: on_address_resubscribed,
                AddressChanged: transactional(on_address_changed),
            },
        ),
    ]


def _decided_by(gathering: Gathering[UUID]) -> Handler:
    async def on_requested(
        event: SendsRequested | MessagesRequested | WorkflowMailsRequested, context: RequestContext
    ) -> None:
        await gathering.work_on(context, parse_id(event.batch_id), event.message_count)

    return idempotent(on_requested)


async def on_address_changed(event: AddressChanged, context: RequestContext, session: TenantSession) -> None:
    """What a person refused at one address they refuse at the other."""
    await follow_to(session, event.old_email_digest, event.new_email_digest)


async def on_messages_settled(
    event: MessagesSettled, context: RequestContext, session: TenantSession
) -> None:
    """Tell of the addresses that bounced for good."""
    # Of what was given up after a day as well: it may have been the last of so many.
    bounced = {
        parse_id(outcome.message_id)
        for outcome in event.outcomes
        if outcome.status in (MESSAGE_STATUS_BOUNCED, MESSAGE_STATUS_FAILED)
    }
    if bounced:
        await announce_bounces_of(session, bounced)
