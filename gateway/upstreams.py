"""The processes behind the gateway, and the two questions that it has for identity itself."""

from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Self

from grpc_health.v1 import health_pb2, health_pb2_grpc

from chassis.context import RequestContext
from chassis.contract.access import GATEWAY
from chassis.errors import DomainError
from chassis.identifiers import new_id
from chassis.rpc.client import Peer
from chassis.rpc.tls import MutualTls
from chassis.stamp import Stamper
from flownurture.identity.v1 import admission_pb2, admission_pb2_grpc, auth_pb2, auth_pb2_grpc
from gateway.credentials import Credential
from gateway.principals import ANONYMOUS
from gateway.settings import GatewaySettings

_IDENTITY = "identity"
_TIMEOUT = 2.0  # seconds


class Upstreams:
    """A channel to each domain. An async context manager."""

    def __init__(self, settings: GatewaySettings, stamper: Stamper) -> None:
        self._settings = settings
        self._stamper = stamper
        self._tls = MutualTls.of(settings)
        self._peers: dict[str, Peer] = {}
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self.peer(_IDENTITY)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._open.aclose()

    async def peer(self, domain: str) -> Peer:
        """The process that answers for a domain of the contract."""
        if domain not in self._peers:
            peer = Peer(self._settings.target(domain), domain, self._stamper, self._tls)
            self._peers[domain] = await self._open.enter_async_context(peer)
        return self._peers[domain]

    async def resolve(self, credential: Credential) -> admission_pb2.Grant:
        """Ask identity for a credential's grant. Raises Unauthenticated when it has none."""
        identity = self._peers[_IDENTITY]
        stub = admission_pb2_grpc.AdmissionServiceStub(identity.channel)
        context = RequestContext.of_process(GATEWAY, None)
        grant: admission_pb2.Grant = await identity.call(
            stub.ResolveCredential, credential.resolve_request(), context, _TIMEOUT
        )
        return grant

    async def key_set(self) -> bytes:
        """Fetch identity's public keys, a JWK set."""
        identity = self._peers[_IDENTITY]
        stub = auth_pb2_grpc.AuthServiceStub(identity.channel)
        context = replace(ANONYMOUS, request_id=str(new_id()))
        answer = await identity.call(stub.GetJwks, auth_pb2.GetJwksRequest(), context, _TIMEOUT)
        return bytes(answer.data)

    async def identity_serves(self) -> bool:
        """Whether identity says of itself that it serves (gRPC health protocol)."""
        identity = self._peers[_IDENTITY]
        stub = health_pb2_grpc.HealthStub(identity.channel)
        context = replace(ANONYMOUS, request_id=str(new_id()))
        try:
            answer = await identity.call(stub.Check, health_pb2.HealthCheckRequest(), context, 1.0)
        except DomainError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
