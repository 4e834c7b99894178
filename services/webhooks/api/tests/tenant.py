"""An organization as its admin uses it: what the tests of this service speak with."""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Coroutine
from typing import Any
from uuid import UUID, uuid4

from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from sqlalchemy import insert, text

from chassis.context import ActorKind, RequestContext, Role
from chassis.database import Database
from chassis.identifiers import new_id
from chassis.rpc.client import Peer
from chassis.tests.deadlines import until
from flownurture.webhooks.v1 import (
    deliveries_pb2,
    directory_pb2,
    endpoints_pb2,
    event_types_pb2,
    replays_pb2,
    usage_pb2,
)
from services.webhooks.endpoints import delete_endpoint
from services.webhooks.tables import attempts, deliveries, events

URL = "https://hooks.example.com/in"

_SOMEBODY_WAITS = text(
    "SELECT EXISTS (SELECT FROM pg_locks WHERE pg_backend_pid() = ANY(pg_blocking_pids(pid)))"
)

_SERVICES = [
    service
    for contract in (
        deliveries_pb2,
        directory_pb2,
        endpoints_pb2,
        event_types_pb2,
        replays_pb2,
        usage_pb2,
    )
    for service in contract.DESCRIPTOR.services_by_name.values()
]
_RPC_OF = {
    method.input_type.full_name: (service, method) for service in _SERVICES for method in service.methods
}


class Woken:
    """Notes which endpoints were to be looked at, by organization."""

    def __init__(self) -> None:
        self.of: defaultdict[UUID, list[UUID]] = defaultdict(list)

    def __call__(self, organization_id: UUID, endpoint_ids: Collection[UUID]) -> None:
        self.of[organization_id].extend(endpoint_ids)


class Tenant:
    """An admin of a fresh organization. Calling it with a request calls the RPC that takes such a request."""

    def __init__(self, peer: Peer, database: Database, woken: Woken) -> None:
        self.context = RequestContext(
            issuer="gateway",
            actor_kind=ActorKind.USER,
            actor_id=str(uuid4()),
            role=Role.ORG_ADMIN,
            organization_id=uuid4(),
            session_id=str(uuid4()),
            request_id=str(uuid4()),
            limits=(("webhook_endpoints", 1_000),),
        )
        self.peer = peer
        self.database = database
        self._woken = woken

    async def __call__(self, request: Message) -> Any:
        service, method = _RPC_OF[request.DESCRIPTOR.full_name]
        stub = self.peer.channel.unary_unary(
            f"/{service.full_name}/{method.name}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )
        return await self.peer.call(stub, request, self.context)

    def called_by(self, peer: Peer, process: str) -> "Tenant":
        """The same organization, on whose behalf another process calls."""
        other = Tenant(peer, self.database, self._woken)
        other.context = RequestContext.of_process(process, self.context.organization)
        return other

    @property
    def woken(self) -> list[UUID]:
        """The endpoints that were to be looked at."""
        return self._woken.of[self.context.organization]

    async def add(self, url: str = URL, *event_types: str, **fields: Any) -> endpoints_pb2.WebhookEndpoint:
        """Create an endpoint."""
        asked = endpoints_pb2.CreateWebhookEndpointRequest(
            url=url, event_types=event_types or ["*"], **fields
        )
        created: endpoints_pb2.WebhookEndpoint = await self(asked)
        return created

    async def row(self, endpoint_id: str) -> Any:
        """An endpoint as it is stored."""
        async with self.database.tenant_transaction(self.context) as session:
            found = await session.execute(
                text("SELECT * FROM endpoints WHERE id = :id"), {"id": UUID(endpoint_id)}
            )
            return found.one()

    async def delivered(self, endpoint_id: str, status: str = "delivered", number: int = 1) -> list[str]:
        """Deliveries to an endpoint as if they had been made; answers their ids, the oldest first."""
        ids = [new_id() for _ in range(number)]
        async with self.database.tenant_transaction(self.context) as session:
            for delivery_id in ids:
                event_id = new_id()
                await session.execute(
                    insert(events).values(id=event_id, type="contact.created", payload=b"{}", sequence=1)
                )
                await session.execute(
                    insert(deliveries).values(
                        id=delivery_id,
                        endpoint_id=UUID(endpoint_id),
                        event_id=event_id,
                        event_type="contact.created",
                        status=status,
                        attempts=1,
                        scheduled=1,
                        last_status_code=200 if status == "delivered" else 500,
                        **{
                            ("due_at" if status == "pending" else "settled_at"): text(
                                "now() + interval '1 hour'"
                            )
                        },
                    )
                )
                await session.execute(
                    insert(attempts).values(
                        delivery_id=delivery_id,
                        id=new_id(),
                        number=1,
                        outcome="delivered" if status == "delivered" else "answered",
                        status_code=200 if status == "delivered" else 500,
                        error="",
                        address="192.0.2.1",
                        duration_ms=12,
                        response_body="ok",
                        attempted_at=text("now()"),
                    )
                )
        return [str(each) for each in ids]

    async def while_deleted(self, endpoint_id: str, asked: Coroutine[Any, Any, Any]) -> Any:
        """What comes of it when it is asked after the endpoint was deleted, and before that is committed."""
        async with self.database.tenant_transaction(self.context) as session:
            await delete_endpoint(session, UUID(endpoint_id))
            task = asyncio.create_task(asked)

            async def waits_or_is_through() -> bool:
                return task.done() or bool(await session.scalar(_SOMEBODY_WAITS))

            await until(waits_or_is_through)
        return await task

    async def execute(self, statement: str) -> None:
        """Execute a statement in the organization."""
        async with self.database.tenant_transaction(self.context) as session:
            await session.execute(text(statement))
