"""The gRPC server of a process: its servicers behind one boundary, and the gRPC health protocol."""

import asyncio
from time import monotonic
from typing import Any, Self, TypeAlias

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as grpc_health  # type: ignore[attr-defined]

from chassis.database import Database
from chassis.rpc.boundary import Boundary, StreamBoundary
from chassis.rpc.methods import Method, Servicer, StreamingMethod, methods_of
from chassis.rpc.options import SERVER_OPTIONS
from chassis.rpc.tls import MutualTls
from chassis.stamp import StampVerifier

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"

# Seconds. Callers have noticed NOT_SERVING when none has called for so long; those that do not are waited for no longer than this. Then
# calls in flight get to end, the longest upload among them.
_NOTICE = 0.5
_LONGEST_NOTICE = 5.0
GRACE_SECONDS = 600.0


class RpcServer:
    """Serves on `listen` (host:port; port 0 takes a free one, told by `port`) from entering to leaving.

    With TLS it takes calls from those alone who have a certificate of the same authorities.

    Leaving it drains: the health service says NOT_SERVING, no new call is taken, those in flight end.
    """

    port: int

    def __init__(
        self,
        process: str,
        listen: str,
        verifier: StampVerifier,
        database: Database | None = None,
        tls: MutualTls | None = None,
    ) -> None:
        self._process = process
        self._listen = listen
        self._verifier = verifier
        self._database = database
        self._tls = tls
        self._by_path = _ByPath()
        self._services: list[str] = []
        self._health = grpc_health.HealthServicer()

    def add(self, *servicers: Servicer) -> Self:
        """Serve these too. Exits the process, naming the RPC, for one without access option or method."""
        for servicer in servicers:
            for method in methods_of(servicer, self._database):
                self._by_path.methods[method.path] = _grpc_handler(method, self._verifier)
            self._services.append(servicer.service.full_name)
        return self

    async def __aenter__(self) -> Self:
        self._server = grpc.aio.server(options=SERVER_OPTIONS)
        self._server.add_generic_rpc_handlers((self._by_path,))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        try:
            self.port = (
                self._server.add_insecure_port(self._listen)
                if self._tls is None
                else self._server.add_secure_port(self._listen, self._tls.server_credentials())
            )
        except RuntimeError:
            raise SystemExit(f"{self._process} cannot listen on {self._listen}: is the port taken?") from None
        await self._server.start()
        for service in ("", *self._services):
            await self._health.set(service, health_pb2.HealthCheckResponse.SERVING)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._health.enter_graceful_shutdown()
        await self._noticed()
        await self._server.stop(GRACE_SECONDS)

    async def _noticed(self) -> None:
        """Return when nobody calls any more. A call that comes as gRPC stops is cancelled, or never answered."""
        begun = monotonic()
        while (now := monotonic()) < begun + _LONGEST_NOTICE:
            quiet_at = max(begun, self._by_path.called_at) + _NOTICE
            if now >= quiet_at:
                return
            await asyncio.sleep(quiet_at - now)


class _ByPath(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # generic in stubs alone
    """Finds a method by its path in one look-up, however many services there are, and knows when it was asked last."""

    def __init__(self) -> None:
        self.methods: dict[str, Handler] = {}
        self.called_at = 0.0

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> "grpc.RpcMethodHandler[Any, Any] | None":
        found = self.methods.get(handler_call_details.method)
        if found is not None:
            self.called_at = monotonic()
        return found


def _grpc_handler(method: Method | StreamingMethod, verifier: StampVerifier) -> Handler:
    # Bytes in, bytes out: nothing of a caller's is decoded before the caller is known.
    if isinstance(method, StreamingMethod):
        return grpc.unary_stream_rpc_method_handler(StreamBoundary(method, verifier).answer)
    kind = (
        grpc.stream_unary_rpc_method_handler
        if method.client_streaming
        else grpc.unary_unary_rpc_method_handler
    )
    return kind(Boundary(method, verifier).answer)
