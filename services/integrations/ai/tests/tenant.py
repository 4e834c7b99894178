"""An organization as one of its members uses AI, through the gateway."""

from collections.abc import AsyncGenerator
from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

from sqlalchemy import text

from chassis.context import ActorKind, RequestContext, Role
from chassis.database import Database
from chassis.rpc.client import Peer
from chassis.rpc.server import RpcServer
from flownurture.integrations.v1 import copilot_pb2, usage_pb2, writing_pb2
from flownurture.integrations.v1.copilot_pb2_grpc import CopilotServiceStub
from flownurture.integrations.v1.usage_pb2_grpc import AiUsageServiceStub
from flownurture.integrations.v1.writing_pb2_grpc import WritingServiceStub

CYCLE = datetime(2026, 11, 1, tzinfo=UTC)


class Tenant:
    """A member of a fresh organization."""

    server: RpcServer

    def __init__(self, gateway: Peer) -> None:
        self.gateway = gateway
        self.context = RequestContext(
            issuer="gateway",
            actor_kind=ActorKind.USER,
            actor_id=str(uuid4()),
            role=Role.MEMBER,
            organization_id=uuid4(),
            session_id=str(uuid4()),
            request_id=str(uuid4()),
            features=frozenset(("ai_writing", "ai_copilot")),
            limits=(("ai_tokens_per_cycle", 1_000_000),),
            cycle_started_at=CYCLE,
        )

    def of_another_organization(self) -> "Tenant":
        """Somebody else."""
        return Tenant(self.gateway)

    def on_a_plan_of(self, tokens: int) -> None:
        """Have so many tokens a cycle."""
        self.context = replace(self.context, limits=(("ai_tokens_per_cycle", tokens),))

    def events(
        self, goal: str = "Tell of spring", **brief: str | int
    ) -> AsyncGenerator[writing_pb2.WriteMailEvent, None]:
        """What happens while a mail is written."""
        request = writing_pb2.WriteMailRequest(goal=goal, **brief)  # type: ignore[arg-type]
        stub = WritingServiceStub(self.gateway.channel)
        return self.gateway.stream(stub.WriteMail, request, self.context, timeout=30)

    async def write(self, goal: str = "Tell of spring", **brief: str | int) -> writing_pb2.WrittenMail:
        """The mail that comes of it."""
        *_, last = [event async for event in self.events(goal, **brief)]
        assert last.WhichOneof("event") == "mail"
        return last.mail

    def steps(self, question: str = "What is there?") -> AsyncGenerator[copilot_pb2.AskCopilotEvent, None]:
        """What happens while a question is answered."""
        stub = CopilotServiceStub(self.gateway.channel)
        request = copilot_pb2.AskCopilotRequest(question=question)
        return self.gateway.stream(stub.AskCopilot, request, self.context, timeout=30)

    async def ask(self, question: str = "What is there?") -> copilot_pb2.CopilotAnswer:
        """The answer that comes of it."""
        *_, last = [event async for event in self.steps(question)]
        assert last.WhichOneof("event") == "answer"
        return last.answer

    async def counted(self, identity: Peer) -> int:
        """How many tokens count, as identity is told."""
        request = usage_pb2.CountTokensRequest()
        request.cycle_started_at.FromDatetime(CYCLE)
        caller = RequestContext.of_process("identity", self.context.organization)
        answer = await identity.call(AiUsageServiceStub(identity.channel).CountTokens, request, caller)
        return int(answer.tokens)


async def spent(tenant: Tenant, database: Database) -> int:
    """How many tokens count."""
    async with database.tenant_transaction(tenant.context) as session:
        return int(await session.scalar(text("SELECT coalesce(sum(tokens), 0) FROM ai_usage")))


async def held(tenant: Tenant, database: Database) -> int:
    """How many requests have tokens set aside."""
    async with database.tenant_transaction(tenant.context) as session:
        return int(await session.scalar(text("SELECT count(*) FROM ai_tokens_set_aside")))
