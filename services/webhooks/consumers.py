"""Events in: every fact that a webhook may tell of goes into the organization's log."""

from uuid import UUID

from google.protobuf.message import Message

from chassis.consumer import Consumer, transactional
from chassis.context import RequestContext
from chassis.database import Database, TenantSession
from chassis.events import EventBus
from flownurture.contacts.v1.events_pb2 import ContactsCreated, ContactsDeleted, ContactsUpdated
from flownurture.delivery.v1.events_pb2 import MessagesSettled
from flownurture.sending.v1.events_pb2 import CampaignCompleted, CampaignLaunched, CampaignsPaused
from flownurture.suppression.v1.events_pb2 import AddressesSuppressed, SendsVetoed, SuppressionsLifted
from flownurture.workflows.v1.events_pb2 import ContactsEnrolled, EnrollmentsEnded
from services.webhooks.event_log import keep

FACTS: dict[str, tuple[type[Message], ...]] = {
    "CONTACTS": (ContactsCreated, ContactsUpdated, ContactsDeleted),
    "SENDING": (CampaignLaunched, CampaignCompleted, CampaignsPaused),
    "SUPPRESSION": (SendsVetoed, AddressesSuppressed, SuppressionsLifted),
    "DELIVERY": (MessagesSettled,),
    "WORKFLOWS": (ContactsEnrolled, EnrollmentsEnded),
}


def consumers(bus: EventBus, database: Database) -> list[Consumer]:
    """A reader of each stream that holds such facts."""
    return [
        Consumer(
            bus,
            stream=stream,
            durable="webhooks",
            database=database,
            handlers=dict.fromkeys(facts, transactional(on_fact)),
        )
        for stream, facts in FACTS.items()
    ]


async def on_fact(event: Message, context: RequestContext, session: TenantSession) -> None:
    """Note it under its own id, once."""
    await keep(session, UUID(context.request_id), event.DESCRIPTOR.full_name, event.SerializeToString())
