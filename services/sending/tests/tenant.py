"""An organization that sends mail: what the tests of this service speak with."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from sqlalchemy import text

from chassis.consumer import Consumer
from chassis.context import ActorKind, RequestContext, Role
from chassis.contract.events import message_type
from chassis.database import Database
from chassis.identifiers import new_id
from chassis.rpc.client import Peer
from flownurture.events.v1.envelope_pb2 import Envelope
from flownurture.sending.v1 import (
    analytics_pb2,
    campaigns_pb2,
    custom_events_pb2,
    domains_pb2,
    enrollments_pb2,
    ip_pools_pb2,
    message_traces_pb2,
    messages_pb2,
    ready_made_workflows_pb2,
    reputation_pb2,
    sending_policy_pb2,
    templates_pb2,
    tracking_pb2,
    workflow_reports_pb2,
    workflow_service_pb2,
    workflow_simulations_pb2,
)
from flownurture.suppression.v1 import files_pb2, preferences_pb2, suppressions_pb2, unsubscribe_pb2
from flownurture.suppression.v1.files_pb2_grpc import SuppressionFileServiceStub
from services.sending.delivery.worker import Worker
from services.sending.dispatch import release
from services.sending.fan_out import FanOut
from services.sending.statuses import MessageStatus
from services.sending.suppression.veto import decide
from services.sending.tests.audience import Audience
from services.sending.tests.plan import CYCLE, PLENTY

_SERVICES = [
    service
    for contract in (
        campaigns_pb2,
        domains_pb2,
        ip_pools_pb2,
        message_traces_pb2,
        messages_pb2,
        reputation_pb2,
        sending_policy_pb2,
        templates_pb2,
        preferences_pb2,
        analytics_pb2,
        tracking_pb2,
        suppressions_pb2,
        unsubscribe_pb2,
        workflow_service_pb2,
        enrollments_pb2,
        ready_made_workflows_pb2,
        workflow_simulations_pb2,
        workflow_reports_pb2,
        custom_events_pb2,
    )
    for service in contract.DESCRIPTOR.services_by_name.values()
]
_RPC_OF = {
    method.input_type.full_name: (service, method) for service in _SERVICES for method in service.methods
}


class Tenant:
    """A fresh organization. Calling it with a request calls the RPC that takes such a request, on its process."""

    def __init__(
        self, sending: Peer, suppression: Peer, database: Database, audience: Audience, fan_out: FanOut
    ) -> None:
        self.context = RequestContext(
            issuer="gateway",
            actor_kind=ActorKind.USER,
            actor_id=str(uuid4()),
            role=Role.ORG_ADMIN,
            organization_id=uuid4(),
            session_id=str(uuid4()),
            request_id=str(uuid4()),
            limits=(("emails_per_cycle", PLENTY),),
            cycle_started_at=CYCLE,
        )
        self.database = database
        self._peers = {"flownurture.sending.v1": sending, "flownurture.suppression.v1": suppression}
        self._audience = audience
        self._fan_out = fan_out

    async def __call__(self, request: Message) -> Any:
        return await self._call(request, self.context)

    async def as_operator(self, request: Message) -> Any:
        """Call an RPC as one of the platform's operators, who belong to no organization."""
        operator = replace(self.context, role=Role.SUPER_ADMIN, organization_id=None, limits=())
        return await self._call(request, operator)

    async def _call(self, request: Message, context: RequestContext) -> Any:
        service, method = _RPC_OF[request.DESCRIPTOR.full_name]
        peer = self._peers[service.file.package]
        stub = peer.channel.unary_unary(
            f"/{service.full_name}/{method.name}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )
        return await peer.call(stub, request, context)

    async def import_suppressions(self, file: bytes, *, key: str | None = None, note: str = "") -> Any:
        """Upload a file of addresses in pieces."""
        piece = 1 << 16

        async def sent() -> AsyncIterator[files_pb2.ImportSuppressionsRequest]:
            yield files_pb2.ImportSuppressionsRequest(options=files_pb2.SuppressionImportOptions(note=note))
            for start in range(0, len(file), piece):
                yield files_pb2.ImportSuppressionsRequest(chunk=file[start : start + piece])

        peer = self._peers["flownurture.suppression.v1"]
        stub = SuppressionFileServiceStub(peer.channel).ImportSuppressions
        return await peer.call(stub, sent(), replace(self.context, idempotency_key=key), 60)

    async def export_suppressions(self, **wanted: Any) -> bytes:
        """Download the list as a file."""
        peer = self._peers["flownurture.suppression.v1"]
        stub = SuppressionFileServiceStub(peer.channel).ExportSuppressions
        request = files_pb2.ExportSuppressionsRequest(**wanted)
        return b"".join([piece.data async for piece in peer.stream(stub, request, self.context, 60)])

    def subscribe(self, *features: str) -> None:
        """Have features of a plan from now on."""
        self.context = replace(self.context, features=frozenset(features))

    async def reach(self) -> None:
        """Wait until the processes that were started anew are connected to again."""
        async with asyncio.timeout(20):
            for peer in self._peers.values():
                await peer.channel.channel_ready()

    def add_list(self, *emails: str) -> str:
        """A list of these people in the contacts service."""
        return self._audience.add(self.context.organization, emails)

    async def draft(self, *emails: str, without: Sequence[str] = (), **fields: Any) -> campaigns_pb2.Campaign:
        """A campaign to a list of these people, less those of another."""
        content = {
            "name": "News",
            "subject": "News",
            "from_name": "Ada",
            "from_email": "ada@shop.test",
            "html": "<p>Hello</p>",
        }
        audience = campaigns_pb2.CampaignAudience(list_ids=[self.add_list(*emails)])
        if without:
            audience.exclude.list_ids.append(self.add_list(*without))
        campaign: campaigns_pb2.Campaign = await self(
            campaigns_pb2.CreateCampaignRequest(audience=audience, **{**content, **fields})
        )
        return campaign

    async def launch(self, *emails: str, **fields: Any) -> str:
        """A launched campaign whose messages are queued."""
        campaign = await self.draft(*emails, **fields)
        await self(campaigns_pb2.LaunchCampaignRequest(campaign_id=campaign.id))
        await self._fan_out.fan_out(self.context, UUID(campaign.id))
        return campaign.id

    async def release(self, window: int = 1_000) -> None:
        """Let the dispatch release what has room in this window."""
        for campaign in await self.rows("SELECT id FROM campaigns"):
            async with self.database.tenant_transaction(self.context) as session:
                await release(session, campaign.id, window=window)

    async def approve(self) -> list[UUID]:
        """Let the dispatch release all batches, and the suppression process decide on them; answers them."""
        await self.release()
        batches = await self.rows("SELECT id FROM batches ORDER BY id")
        for batch in batches:
            async with self.database.tenant_transaction(self.context) as session:
                await decide(session, batch.id)
        return [batch.id for batch in batches]

    async def deliver(self, worker: Worker) -> None:
        """Let suppression decide and delivery hand over, as their events would."""
        for batch_id in await self.approve():
            await worker.deliver(self.context, batch_id)

    async def message(self, to: str, **fields: Any) -> messages_pb2.Message:
        """Queue a single message."""
        content = {"from_email": "ada@shop.test", "subject": "Receipt", "text": "Thank you"}
        created = await self(messages_pb2.CreateMessageRequest(to=to, **{**content, **fields}))
        message: messages_pb2.Message = created.message
        return message

    async def statuses(self) -> dict[str, str]:
        """The status of every message by its recipient."""
        rows = await self.rows("SELECT email, status FROM messages ORDER BY id")
        return {row.email: row.status for row in rows}

    async def count(self, status: MessageStatus) -> int:
        """How many messages have a status."""
        return list((await self.statuses()).values()).count(status.value)

    async def report(self, campaign_id: str) -> campaigns_pb2.CampaignReport:
        """The campaign's report."""
        report: campaigns_pb2.CampaignReport = await self(
            campaigns_pb2.GetCampaignReportRequest(campaign_id=campaign_id)
        )
        return report

    async def rows(self, statement: str, **parameters: Any) -> list[Any]:
        """Read, or change, rows behind the service's back."""
        async with self.database.tenant_transaction(self.context) as session:
            result = await session.execute(text(statement), parameters)
            return list(result.all()) if result.returns_rows else []

    async def published(self, event: type[Message]) -> list[Any]:
        """The events of a type so far, in order."""
        rows = await self.rows("SELECT envelope FROM outbox ORDER BY id")
        envelopes = [Envelope.FromString(row.envelope) for row in rows]
        return [
            message_type(envelope.type).FromString(envelope.payload)
            for envelope in envelopes
            if envelope.type == event.DESCRIPTOR.full_name
        ]

    def envelope(self, event: Message) -> bytes:
        """An event as a stream delivers it."""
        return Envelope(
            id=str(new_id()),
            organization_id=str(self.context.organization),
            type=event.DESCRIPTOR.full_name,
            payload=event.SerializeToString(),
        ).SerializeToString()

    async def hear(
        self,
        consumers: list[Consumer],
        event: Message,
        event_id: UUID | None = None,
        occurred_at: datetime | None = None,
    ) -> UUID:
        """Let a process' consumers handle an event of another service; answers its id."""
        envelope = Envelope(
            id=str(event_id or new_id()),
            organization_id=str(self.context.organization),
            type=event.DESCRIPTOR.full_name,
            payload=event.SerializeToString(),
        )
        envelope.occurred_at.FromDatetime(occurred_at or datetime.now(UTC))
        for consumer in consumers:
            await consumer.handle(envelope.SerializeToString())
        return UUID(envelope.id)
