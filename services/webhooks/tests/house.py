"""The webhooks process' own parts, put together on real servers for a test, in an organization of its own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Self
from uuid import UUID, uuid4

from google.protobuf.message import Message
from sqlalchemy import insert, select, text, update

from chassis.consumer import Consumer
from chassis.context import RequestContext
from chassis.database import Database, RoleDatabase
from chassis.identifiers import new_id
from chassis.secret import Secret
from chassis.vault.settings import wrapping_of
from chassis.vault.vault import Vault
from flownurture.contacts.v1 import contacts_pb2
from flownurture.contacts.v1.events_pb2 import ContactsCreated
from flownurture.events.v1.envelope_pb2 import Envelope
from services.webhooks.consumers import consumers
from services.webhooks.dispatch.dispatcher import Dispatcher
from services.webhooks.dispatch.shards import GiveUp, Holding
from services.webhooks.endpoint_secrets import sealed_headers, sealed_secret
from services.webhooks.event_types import VERSIONS
from services.webhooks.outbound.client import Client
from services.webhooks.outbound.resolver import Resolver
from services.webhooks.settings import WebhooksSettings
from services.webhooks.signing import new_secret
from services.webhooks.tables import attempts, deliveries, endpoints, events


class Alone:
    """Of tests that run side by side each is as if it were the only process: no other posts for its endpoints."""

    give_up: GiveUp

    def holds(self, endpoint_id: UUID) -> bool:
        return True

    async def leave(self) -> None:
        pass


class AloneWith(Alone):
    """As alone, and with one endpoint: what is due to those of other tests is not found."""

    def __init__(self, endpoint_id: UUID) -> None:
        self._endpoint_id = endpoint_id

    def holds(self, endpoint_id: UUID) -> bool:
        return endpoint_id == self._endpoint_id


@dataclass(slots=True)
class House:
    """One organization, and the dispatcher of one process."""

    database: Database
    dispatcher: Dispatcher
    readers: list[Consumer]
    vault: Vault
    organization_id: UUID = field(default_factory=uuid4)
    secrets: dict[UUID, Secret] = field(default_factory=dict)

    @property
    def context(self) -> RequestContext:
        return RequestContext.of_process("webhooks", self.organization_id)

    async def endpoint(
        self,
        url: str,
        *event_types: str,
        headers: dict[str, str] | None = None,
        endpoint_id: UUID | None = None,
        **columns: Any,
    ) -> UUID:
        endpoint_id, secret = endpoint_id or new_id(), new_secret()
        self.secrets[endpoint_id] = secret
        values = {
            "id": endpoint_id,
            "url": url,
            "description": "",
            "event_types": list(event_types) or ["*"],
            "enabled": True,
            "header_names": [],
            "api_version": VERSIONS[-1],
            "message_signatures": False,
        }
        given = [(name, Secret(value)) for name, value in (headers or {}).items()]
        async with self.database.tenant_transaction(self.context) as session:
            keyring = await self.vault.keyring(session)
            sealed = {
                "sealed_secret": sealed_secret(keyring, endpoint_id, secret),
                "headers_sealed": sealed_headers(keyring, endpoint_id, given),
            }
            await session.execute(insert(endpoints).values(values | sealed | columns))
        return endpoint_id

    async def tell(self, fact: Message, fact_id: UUID | None = None) -> UUID:
        """Have the process read a fact, as the bus would deliver it."""
        fact_id = fact_id or new_id()
        envelope = Envelope(
            id=str(fact_id),
            organization_id=str(self.organization_id),
            type=fact.DESCRIPTOR.full_name,
            payload=fact.SerializeToString(),
        )
        envelope.occurred_at.GetCurrentTime()
        for reader in self.readers:
            await reader.handle(envelope.SerializeToString())
        return fact_id

    def quietly(self) -> Self:
        """The same, as another process writes: nobody here is handed anything."""
        return replace(self, readers=consumers(None, self.database, lambda *_: None))  # type: ignore[arg-type]

    async def create_contacts(self, number: int = 1) -> list[str]:
        """Tell of contacts that were created; answers their ids."""
        contacts = [
            contacts_pb2.Contact(id=str(new_id()), email=f"reader{place}@example.test")
            for place in range(number)
        ]
        await self.tell(ContactsCreated(contacts=contacts))
        return [contact.id for contact in contacts]

    async def deliveries(self) -> list[Any]:
        async with self.database.tenant_transaction(self.context) as session:
            return list(await session.execute(select(deliveries).order_by(deliveries.c.id)))

    async def attempts(self) -> list[Any]:
        async with self.database.tenant_transaction(self.context) as session:
            return list(await session.execute(select(attempts).order_by(attempts.c.id)))

    async def events(self) -> list[Any]:
        async with self.database.tenant_transaction(self.context) as session:
            return list(await session.execute(select(events)))

    async def published(self, kind: type[Message]) -> list[Any]:
        """What went into the outbox of this type."""
        async with self.database.tenant_transaction(self.context) as session:
            rows = await session.execute(text("SELECT envelope FROM outbox ORDER BY id"))
            envelopes = [Envelope.FromString(row.envelope) for row in rows]
        return [
            kind.FromString(envelope.payload)
            for envelope in envelopes
            if envelope.type == kind.DESCRIPTOR.full_name
        ]

    async def row(self, endpoint_id: UUID) -> Any:
        async with self.database.tenant_transaction(self.context) as session:
            return (await session.execute(select(endpoints).where(endpoints.c.id == endpoint_id))).one()

    async def change(self, endpoint_id: UUID, **columns: Any) -> None:
        async with self.database.tenant_transaction(self.context) as session:
            await session.execute(update(endpoints).where(endpoints.c.id == endpoint_id).values(columns))

    async def let_time_pass(self) -> None:
        """What is to come again is due now, and nobody rests any more."""
        async with self.database.tenant_transaction(self.context) as session:
            await session.execute(text("UPDATE deliveries SET due_at = now() WHERE due_at IS NOT NULL"))
            await session.execute(text("UPDATE endpoints SET paused_until = NULL"))

    async def next_attempt(self) -> None:
        """Have everything tried again that is to come again, and wait until that is written down."""
        await self.let_time_pass()
        async with self.database.tenant_transaction(self.context) as session:
            ids = list((await session.execute(select(endpoints.c.id))).scalars())
        self.dispatcher.wake(self.organization_id, ids)
        await self.dispatcher.settled()


@asynccontextmanager
async def house(
    settings: WebhooksSettings, database: Database, scheduler: RoleDatabase, shards: Holding | None = None
) -> AsyncIterator[House]:
    vault = Vault("webhooks", wrapping_of(settings))
    client = Client(settings.destination_rules, Resolver(settings.dns_resolver))
    dispatcher = Dispatcher(database, scheduler, shards or Alone(), vault, client)
    yield House(
        database,
        dispatcher,
        consumers(None, database, dispatcher.hand_over),  # type: ignore[arg-type]
        vault,
    )
    await dispatcher.close()
