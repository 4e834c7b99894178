"""Calls to another process: stamped, with what is left of the deadline, errors as they were raised there."""

from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable
from typing import Self, TypeAlias, TypeVar

import grpc
import grpc.aio

from chassis import tracing
from chassis.context import RequestContext
from chassis.errors import DeadlineExceeded
from chassis.rpc import deadline
from chassis.rpc.options import CHANNEL_OPTIONS
from chassis.rpc.presence import Presence
from chassis.rpc.renewed_channel import RenewedChannel
from chassis.rpc.status import error_of
from chassis.rpc.tls import MutualTls
from chassis.stamp import STAMP_METADATA, Stamper

Request = TypeVar("Request")
Response = TypeVar("Response")

Metadata: TypeAlias = tuple[tuple[str, str | bytes], ...]

_RESOLVERS = ("dns:", "ipv4:", "ipv6:", "unix:")


class Peer:
    """Another process, by its target (`contacts:9000`, `127.0.0.1:9102`) and its name, the audience.

    A name that stands for several addresses is called at all of them in turn. A call that finds nobody waits a moment, since another
    process may be taking the place of the one that left; it is never made twice. With TLS whoever answers shows a certificate with
    the name.

    A stub's method is called through the peer, and never without a context:

        entitlements = EntitlementServiceStub(peer.channel)
        answer = await peer.call(entitlements.GetEntitlements, request, context)
    """

    channel: grpc.aio.Channel

    def __init__(self, target: str, audience: str, stamper: Stamper, tls: MutualTls | None = None) -> None:
        self._target = target if target.startswith(_RESOLVERS) else f"dns:///{target}"
        self._audience = audience
        self._stamper = stamper
        self._tls = tls

    async def __aenter__(self) -> Self:
        if self._tls is None:
            self.channel = grpc.aio.insecure_channel(self._target, options=CHANNEL_OPTIONS)
        else:
            self.channel = RenewedChannel(self._target, self._audience, self._tls)
        self._presence = await Presence(self.channel).__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._presence.__aexit__()
        await self.channel.close(None)

    async def call(
        self,
        method: "grpc.aio.UnaryUnaryMultiCallable[Request, Response]"
        " | grpc.aio.StreamUnaryMultiCallable[Request, Response]",
        request: Request | AsyncIterable[Request],
        context: RequestContext,
        timeout: float = deadline.DEFAULT,  # noqa: ASYNC109 - it travels with the call
    ) -> Response:
        """Call an RPC on behalf of a context. Raises the DomainError that the other side raised.

        A client-streaming RPC takes an async iterable of requests. `timeout` is in seconds; the call in which
        this one is made may leave less.
        """
        call: Callable[..., Awaitable[Response]] = method
        return await self._called(call, request, self._metadata(context), timeout)

    async def call_for_client(
        self,
        method: "grpc.aio.UnaryUnaryMultiCallable[Request, Response]",
        request: Request,
        context: RequestContext,
        timeout: float = deadline.DEFAULT,  # noqa: ASYNC109 - it travels with the call
    ) -> Response:
        """The same, with the rights of the client whose call this is about, and no others: for RPCs that name this process a delegate.

        Raises Unauthenticated when no client called.
        """
        call: Callable[..., Awaitable[Response]] = method
        stamp = self._stamper.delegated_stamp(context, self._audience)
        return await self._called(call, request, _metadata(context, stamp), timeout)

    async def stream(
        self,
        method: "grpc.aio.UnaryStreamMultiCallable[Request, Response]",
        request: Request,
        context: RequestContext,
        timeout: float = deadline.DEFAULT,  # noqa: ASYNC109 - it travels with the call
    ) -> AsyncGenerator[Response, None]:
        """The messages that a server-streaming RPC answers with. Raises the DomainError that the other side raised.

        `timeout` is for the whole of them, as in `call`. Closing the iterator cancels the call.
        """
        expected = await self._expected(timeout)
        answer = method(
            request,
            timeout=_allowed(timeout),
            metadata=self._metadata(context),
            wait_for_ready=expected,
        )
        try:
            async for message in answer:
                yield message
        except grpc.aio.AioRpcError as failure:
            raise error_of(failure) from None
        finally:
            answer.cancel()

    async def _called(
        self, call: Callable[..., Awaitable[Response]], request: object, metadata: Metadata, seconds: float
    ) -> Response:
        expected = await self._expected(seconds)
        try:
            return await call(request, timeout=_allowed(seconds), metadata=metadata, wait_for_ready=expected)
        except grpc.aio.AioRpcError as failure:
            raise error_of(failure) from None

    async def _expected(self, seconds: float) -> bool:
        """Whether a call that has not reached anybody is to wait for who comes: gRPC may send it again until it has, and no longer."""
        return await self._presence.expected(_allowed(seconds))

    def _metadata(self, context: RequestContext) -> Metadata:
        return _metadata(context, self._stamper.stamp(context, self._audience))


def _allowed(seconds: float) -> float:
    allowed = deadline.allowance(seconds)
    if allowed <= 0:
        raise DeadlineExceeded
    return allowed


def _metadata(context: RequestContext, stamp: bytes) -> Metadata:
    metadata: list[tuple[str, str | bytes]] = [
        (STAMP_METADATA, stamp),
        ("x-request-id", context.request_id),
    ]
    if context.idempotency_key is not None:
        metadata.append(("idempotency-key", context.idempotency_key))
    traceparent = tracing.current()
    if traceparent:
        metadata.append(("traceparent", traceparent))
    return tuple(metadata)
