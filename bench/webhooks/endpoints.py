"""Endpoints of a bench, and facts that they are told of."""

import nats
from nats.aio.client import Client as Nats

from bench.sending.stage import Stage
from chassis.contract.events import subject_of
from chassis.identifiers import new_id
from deploy.local.environment import process_environment
from flownurture.contacts.v1 import contacts_pb2
from flownurture.contacts.v1.events_pb2 import ContactsUpdated
from flownurture.events.v1.envelope_pb2 import Envelope
from flownurture.webhooks.v1.endpoints_pb2 import CreateWebhookEndpointRequest
from flownurture.webhooks.v1.endpoints_pb2_grpc import WebhookEndpointServiceStub

A_FACT = 250


async def make_endpoints(made: Stage, url: str, number: int, *event_types: str) -> list[str]:
    """Make endpoints of the stage's organization through the process; answers their secrets."""
    secrets = []
    async with made.peer("webhooks") as peer:
        stub = WebhookEndpointServiceStub(peer.channel)
        for _ in range(number):
            request = CreateWebhookEndpointRequest(url=url, event_types=event_types)
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


async def tell(bus: Nats, made: Stage, number: int) -> None:
    """So many contacts were changed, in facts of 250."""
    for _ in range(number // A_FACT):
        contacts = [
            contacts_pb2.Contact(id=str(new_id()), email=f"reader{n}@example.test", first_name="Ada")
            for n in range(A_FACT)
        ]
        envelope = Envelope(
            id=str(new_id()),
            organization_id=str(made.context.organization),
            type=ContactsUpdated.DESCRIPTOR.full_name,
            payload=ContactsUpdated(contacts=contacts).SerializeToString(),
        )
        envelope.occurred_at.GetCurrentTime()
        headers = {"Nats-Msg-Id": envelope.id}
        await bus.jetstream().publish(
            subject_of(ContactsUpdated), envelope.SerializeToString(), headers=headers
        )
