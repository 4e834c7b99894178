"""What every call passes on its way in and out: stamp → access → bounds → deadline → method → errors."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator
from time import perf_counter
from typing import Any

import grpc
import grpc.aio
from prometheus_client import Histogram

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

# Without a deadline of the caller's; an upload takes as long as its sender's line.
_STREAM_SECONDS = 600.0


class Boundary:
    """One RPC as gRPC calls it, for one request or a stream of them: bytes in, bytes out."""

    def __init__(self, method: Method, verifier: StampVerifier) -> None:
        self._method = method
        self._verifier = verifier
        self._without_deadline = _STREAM_SECONDS if method.client_streaming else deadline.DEFAULT
        self._seconds: dict[grpc.StatusCode, Histogram] = {}

    async def answer(self, request: Any, call: Any) -> bytes:
        """Answer a call, or abort it with the status of the error it met."""
        started, code = perf_counter(), grpc.StatusCode.CANCELLED
        try:
            response = await self._admit(request, call)
        except DomainError as error:
            code = code_of(error)
            await call.abort(code, error.message, details_of(error))
            raise
        else:
            code = grpc.StatusCode.OK
            return response
        finally:
            self._measure(code, perf_counter() - started)

    async def _admit(self, request: Any, call: Any) -> bytes:
        metadata = dict(call.invocation_metadata())
        try:
            context = _context_of(metadata, self._verifier)
        except Unauthenticated as refusal:
            logs.logger().warning(
                "stamp_refused", method=self._method.path, because=refusal.message, peer=call.peer()
            )
            raise
        self._method.access.check(context)
        if self._method.client_streaming:
            request = _whole(request, call)
        with logs.about(context), tracing.span(self._method.path, metadata.get("traceparent", "")):
            try:
                return await self._run(request, context, call.time_remaining() or self._without_deadline)
            except DomainError:
                raise
            except Exception as bug:
                logs.logger().exception("rpc_failed", method=self._method.path)
                raise InternalError from bug

    async def _run(self, request: Any, context: RequestContext, allowed: float) -> bytes:
        deadline.begin(allowed)
        try:
            async with asyncio.timeout(deadline.shaved(allowed)) as limit:
                response = await self._method.run(request, context)
        except TimeoutError:
            if limit.expired():
                raise DeadlineExceeded from None
            raise
        if type(response) is not self._method.response_type:
            raise TypeError(f"{self._method.path} answers with {type(response).__name__}")
        return response.SerializeToString()

    def _measure(self, code: grpc.StatusCode, seconds: float) -> None:
        observed = self._seconds.get(code)
        if observed is None:
            observed = self._seconds[code] = RPC_SECONDS.labels(self._method.path, code.name)
        observed.observe(seconds)


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
