"""What every call passes on its way in and out: stamp → access → bounds → deadline → method → errors."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from time import perf_counter
from typing import Any

import grpc
import grpc.aio

from chassis import logs, tracing
from chassis.context import RequestContext
from chassis.errors import (
    DeadlineExceeded,
    DomainError,
    FieldViolation,
    InternalError,
    InvalidRequest,
    Unauthenticated,
)
from chassis.metrics import RPC_SECONDS
from chassis.rpc import deadline
from chassis.rpc.methods import Method
from chassis.rpc.status import code_of, details_of
from chassis.stamp import STAMP_METADATA, StampVerifier

Answer = Callable[[Any, Any], Awaitable[bytes]]

# Without a deadline of the caller's; an upload takes as long as its sender's line.
_STREAM_SECONDS = 600.0


def guarded(method: Method, verifier: StampVerifier) -> Answer:
    """The method as gRPC calls it, for one request or a stream of them, bytes in and bytes out."""
    without_deadline = _STREAM_SECONDS if method.client_streaming else deadline.DEFAULT
    seconds: dict[str, Any] = {}

    def measure(code: grpc.StatusCode, started: float) -> None:
        observed = seconds.get(code.name)
        if observed is None:
            observed = seconds[code.name] = RPC_SECONDS.labels(method.path, code.name)
        observed.observe(perf_counter() - started)

    response_type = method.response_type

    async def within_deadline(request: Any, context: RequestContext, allowed: float) -> bytes:
        deadline.begin(allowed)
        try:
            async with asyncio.timeout(deadline.shaved(allowed)) as limit:
                response = await method.run(request, context)
        except TimeoutError:
            if limit.expired():
                raise DeadlineExceeded from None
            raise
        if type(response) is not response_type:
            raise TypeError(f"{method.path} answers with {type(response).__name__}")
        return response.SerializeToString()

    async def on_behalf(request: Any, call: Any) -> bytes:
        metadata = dict(call.invocation_metadata())
        try:
            context = _context_of(metadata, verifier)
        except Unauthenticated as refusal:
            logs.logger().warning(
                "stamp_refused", method=method.path, because=refusal.message, peer=call.peer()
            )
            raise
        method.access.check(context)
        if method.client_streaming:
            request = _whole(request, call)
        with logs.about(context), tracing.span(method.path, metadata.get("traceparent", "")):
            try:
                return await within_deadline(request, context, call.time_remaining() or without_deadline)
            except DomainError:
                raise
            except Exception as bug:
                logs.logger().exception("rpc_failed", method=method.path)
                raise InternalError from bug

    async def answer(request: Any, call: Any) -> bytes:
        started, code = perf_counter(), grpc.StatusCode.CANCELLED
        try:
            response = await on_behalf(request, call)
        except DomainError as error:
            code = code_of(error)
            await call.abort(code, error.message, details_of(error))
            raise
        else:
            code = grpc.StatusCode.OK
            return response
        finally:
            measure(code, started)

    return answer


async def _whole(requests: AsyncIterable[Any], call: Any) -> AsyncIterator[Any]:
    """The requests, ending normally only if their sender ended them.

    To gRPC's reader a sender that is gone looks like one that has finished, for a moment. But nothing can be sent to
    it: that fails, and the handler never takes half of a stream for the whole.
    """
    async for request in requests:
        yield request
    await call.send_initial_metadata(())


def _context_of(metadata: dict[str, Any], verifier: StampVerifier) -> RequestContext:
    stamp = metadata.get(STAMP_METADATA)
    if not stamp:
        raise Unauthenticated("The call carries no request context.")
    idempotency_key = metadata.get("idempotency-key")
    if idempotency_key is not None and not 0 < len(idempotency_key) <= 255:
        raise InvalidRequest(FieldViolation("Idempotency-Key", "must be 1 to 255 characters"))
    return verifier.verify(stamp, metadata.get("x-request-id", ""), idempotency_key)
