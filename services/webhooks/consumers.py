"""Events in: each becomes what webhooks tell of it, and a delivery for every endpoint that takes it; orders name their endpoint."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias
from uuid import UUID

from google.protobuf.message import Message

from chassis.consumer import Consumer, Handler, Inbox
from chassis.context import RequestContext
from chassis.database import Database
from chassis.erasure import Erasures
from chassis.events import EventBus
from chassis.standstill import standing_still
from flownurture.contacts.v1.events_pb2 import ContactsDeleted
from flownurture.identity.v1.events_pb2 import (
    OrganizationErased,
    OrganizationErasureRequested,
    OrganizationErasureTakenBack,
)
from flownurture.workflows.v1.events_pb2 import CallEndpoints
from services.webhooks import payloads
from services.webhooks.dispatch.parcels import Parcel
from services.webhooks.erasure import forget
from services.webhooks.fan_out import deliver, fan_out, keep, takers

# Receives what is committed: the organization, and its new deliveries by endpoint.
HandOver: TypeAlias = Callable[[UUID, Mapping[UUID, Sequence[Parcel]]], None]

# Transactions of one stream at a time; the streams share the process' connections.
_CONCURRENCY = 4


def consumers(bus: EventBus, database: Database, hand_over: HandOver) -> list[Consumer]:
    """A reader of each stream that webhooks tell of, and one of the orders that workflows give."""
    readings = {stream: dict.fromkeys(facts, _fact(hand_over)) for stream, facts in payloads.FACTS.items()}
    readings["ENDPOINT_CALLS"] = {CallEndpoints: _calls(hand_over)}
    return [
        Consumer(
            bus,
            stream=stream,
            durable="webhooks",
            database=database,
            handlers=handlers,
            concurrency=_CONCURRENCY,
        )
        for stream, handlers in readings.items()
    ]


def identity_consumer(bus: EventBus, database: Database, erasures: Erasures) -> Consumer:
    """Reads the IDENTITY stream: who is to be erased and stands still until then, and who is."""
    return Consumer(
        bus,
        stream="IDENTITY",
        durable="webhooks",
        database=database,
        handlers={
            OrganizationErasureRequested: standing_still(True),
            OrganizationErasureTakenBack: standing_still(False),
            OrganizationErased: erasures.handler,
        },
    )


def _fact(hand_over: HandOver) -> Handler:
    async def on_fact(fact: Message, context: RequestContext, inbox: Inbox) -> None:
        """Once: who is erased is forgotten, and whoever takes it is told, at once."""
        async with inbox.database.tenant_transaction(context) as session:
            if not await inbox.receive(session):
                return
            if isinstance(fact, ContactsDeleted):
                await forget(session, list(map(UUID, fact.contact_ids)))
            parcels = await fan_out(session, fact, inbox.event_id)
        hand_over(context.organization, parcels)

    return on_fact


def _calls(hand_over: HandOver) -> Handler:
    async def on_calls(order: CallEndpoints, context: RequestContext, inbox: Inbox) -> None:
        """Each call is an event of its own id, so the order may come again, or another with some of its calls."""
        async with inbox.database.tenant_transaction(context) as session:
            there = {taker.endpoint_id for taker in await takers(session)}
            calls = [
                (UUID(call.endpoint_id), told)
                for call, told in zip(order.calls, payloads.told_by(order, inbox.event_id), strict=True)
                if UUID(call.endpoint_id) in there
            ]
            kept = {told.id for told in await keep(session, [told for _, told in calls])}
            parcels = await deliver(session, [call for call in calls if call[1].id in kept])
        hand_over(context.organization, parcels)

    return on_calls
