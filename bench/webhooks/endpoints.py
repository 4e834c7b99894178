"""Endpoints of a bench, and facts that they are told of."""

from collections.abc import Callable, Sequence

import nats
from google.protobuf.message import Message
from nats.aio.client import Client as Nats

from bench.sending.stage import Stage
from chassis.contract.events import subject_of
from chassis.identifiers import new_id
from deploy.local.environment import process_environment
from flownurture.contacts.v1 import contacts_pb2, events_pb2
from flownurture.events.v1.envelope_pb2 import Envelope
from flownurture.webhooks.v1.endpoints_pb2 import CreateWebhookEndpointRequest
from flownurture.webhooks.v1.endpoints_pb2_grpc import WebhookEndpointServiceStub

A_FACT = 250

# Facts about one contact each, by the one event that is told of them.
FACTS: dict[str, Callable[[], Message]] = {
    "contact.created": lambda: events_pb2.ContactsCreated(contacts=_contacts(1)),
    "contact.updated": lambda: events_pb2.ContactsUpdated(contacts=_contacts(1)),
    "contact.subscribed": lambda: events_pb2.ContactsSubscribed(contacts=_contacts(1)),
    "contact.unsubscribed": lambda: events_pb2.ContactsUnsubscribed(contacts=_contacts(1)),
}


async def make_endpoints(made: Stage, urls: Sequence[str], event_types: Sequence[str]) -> list[str]:
    """Make endpoints of the stage's organization through the process, each of which takes the next of these types; answers their secrets."""
    secrets = []
    async with made.peer("webhooks") as peer:
        stub = WebhookEndpointServiceStub(peer.channel)
        for number, url in enumerate(urls):
            request = CreateWebhookEndpointRequest(
                url=url, event_types=[event_types[number % len(event_types)]]
            )
            endpoint = await peer.call(stub.CreateWebhookEndpoint, request, made.context)
            secrets.append(endpoint.secret)
    return secrets


async def connect(made: Stage) -> Nats:
    """The bus, as the contacts process publishes to it."""
    told = process_environment("contacts", made.addresses, made.secrets)
    return await nats.connect(
        told["NATS_URL"],
        user=told["NATS_USER"],
        password=told["NATS_PASSWORD"],
        inbox_prefix=f"_INBOX.{told['NATS_USER']}".encode(),
    )


async def tell_of_changes(bus: Nats, made: Stage, number: int) -> None:
    """So many contacts were changed, in facts of 250."""
    for _ in range(number // A_FACT):
        await tell(bus, made, events_pb2.ContactsUpdated(contacts=_contacts(A_FACT)))


async def tell(bus: Nats, made: Stage, fact: Message) -> None:
    """This has happened, just now."""
    envelope = Envelope(
        id=str(new_id()),
        organization_id=str(made.context.organization),
        type=fact.DESCRIPTOR.full_name,
        payload=fact.SerializeToString(),
    )
    envelope.occurred_at.GetCurrentTime()
    headers = {"Nats-Msg-Id": envelope.id}
    await bus.jetstream().publish(subject_of(type(fact)), envelope.SerializeToString(), headers=headers)


def _contacts(number: int) -> list[contacts_pb2.Contact]:
    return [
        contacts_pb2.Contact(id=str(new_id()), email=f"reader{n}@example.test", first_name="Ada")
        for n in range(number)
    ]
