"""What every call passes on its way in and out: stamp → access → bounds → deadline → method → errors."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from time import perf_counter
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import Message
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
from chassis.metrics import RPC_SECONDS, RPCS_IN_FLIGHT
from chassis.rpc import deadline
from chassis.rpc.methods import Method, StreamingMethod
from chassis.rpc.status import code_of, details_of
from chassis.stamp import STAMP_METADATA, StampVerifier

# Without a deadline of the caller's; a stream takes as long as the line of who sends or reads it.
_STREAM_SECONDS = 600.0
_HEARD_OUT_SECONDS = 2.0


class _Gate:
    """What both kinds of calls pass: who calls, whether they may, and how long it took."""

    def __init__(self, method: Method | StreamingMethod, verifier: StampVerifier) -> None:
        self._path = method.path
        self._access = method.access
        self._response_type = method.response_type
        self._verifier = verifier
        self._seconds: dict[grpc.StatusCode, Histogram] = {}

    @asynccontextmanager
    async def _measured(self, call: Any) -> AsyncIterator[None]:
        """Abort the call with the status of the error it meets, and measure it."""
        started, code = perf_counter(), grpc.StatusCode.CANCELLED
        RPCS_IN_FLIGHT.inc()
        try:
            yield
        except DomainError as error:
            code = code_of(error)
            await call.abort(code, error.message, details_of(error))
            raise
        else:
            code = grpc.StatusCode.OK
        finally:
            RPCS_IN_FLIGHT.dec()
            self._measure(code, perf_counter() - started)

    @contextmanager
    def _admitted(self, call: Any) -> Iterator[RequestContext]:
        """The verified context of a caller who may call; within it, what is no DomainError is a bug."""
        metadata = dict(call.invocation_metadata())
        try:
            context = _context_of(metadata, self._verifier)
        except Unauthenticated as refusal:
            logs.logger().warning(
                "stamp_refused", method=self._path, because=refusal.message, peer=call.peer()
            )
            raise
        self._access.check(context)
        with (
            logs.about(context),
            tracing.span(self._path, metadata.get("traceparent", ""), tracing.SERVER),
        ):
            try:
                yield context
            except DomainError:
                raise
            except Exception as bug:
                logs.logger().exception("rpc_failed", method=self._path)
                raise InternalError from bug

    def _encoded(self, response: Message) -> bytes:
        if type(response) is not self._response_type:
            raise TypeError(f"{self._path} answers with {type(response).__name__}")
        return response.SerializeToString()

    def _measure(self, code: grpc.StatusCode, seconds: float) -> None:
        observed = self._seconds.get(code)
        if observed is None:
            observed = self._seconds[code] = RPC_SECONDS.labels(self._path, code.name)
        observed.observe(seconds)


class Boundary(_Gate):
    """One RPC as gRPC calls it, for one request or a stream of them: bytes in, bytes out."""

    def __init__(self, method: Method, verifier: StampVerifier) -> None:
        super().__init__(method, verifier)
        self._method = method
        self._without_deadline = _STREAM_SECONDS if method.client_streaming else deadline.DEFAULT

    async def answer(self, request: Any, call: Any) -> bytes:
        """Answer a call, or abort it with the status of the error it met."""
        async with self._measured(call):
            try:
                with self._admitted(call) as context:
                    requests = _whole(request, call) if self._method.client_streaming else request
                    async with _limited(call.time_remaining() or self._without_deadline):
                        response = await self._method.run(requests, context)
                    return self._encoded(response)
            except DomainError:
                if self._method.client_streaming:
                    await _heard_out(request)
                raise


class StreamBoundary(_Gate):
    """One RPC that answers with a stream, as gRPC calls it: bytes in, bytes out, no faster than they are read."""

    def __init__(self, method: StreamingMethod, verifier: StampVerifier) -> None:
        super().__init__(method, verifier)
        self._method = method

    async def answer(self, request: bytes, call: Any) -> None:
        """Write the answer, or abort the call with the status of the error it met."""
        async with self._measured(call):
            with self._admitted(call) as context:
                # Closed whatever happens: a transaction within it ends when its reader has gone.
                async with (
                    _limited(call.time_remaining() or _STREAM_SECONDS),
                    aclosing(self._method.run(request, context)) as messages,
                ):
                    async for message in messages:
                        await call.write(self._encoded(message))


@asynccontextmanager
async def _limited(allowed: float) -> AsyncIterator[None]:
    """Raise DeadlineExceeded when the block takes longer than is left of what is allowed. Seconds."""
    deadline.begin(allowed)
    try:
        async with asyncio.timeout(deadline.shaved(allowed)) as limit:
            yield
    except TimeoutError:
        if limit.expired():
            raise DeadlineExceeded from None
        raise


async def _whole(requests: AsyncIterable[Any], call: Any) -> AsyncIterator[Any]:
    """The requests, ending normally only if their sender ended them.

    To gRPC's reader a sender that is gone looks like one that has finished, for a moment. But nothing can be sent to
    it: that fails, and the handler never takes half of a stream for the whole.
    """
    async for request in requests:
        yield request
    await call.send_initial_metadata(())


async def _heard_out(requests: AsyncIterable[Any]) -> None:
    """Read on, for a moment, what is sent to a call that is refused already.

    A message that meets a call which has ended is a failure to gRPC's writer, and its sender would not learn why it was refused.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(_HEARD_OUT_SECONDS):
            async for _ in requests:
                pass


def _context_of(metadata: dict[str, Any], verifier: StampVerifier) -> RequestContext:
    stamp = metadata.get(STAMP_METADATA)
    if not stamp:
        raise Unauthenticated("The call carries no request context.")
    idempotency_key = metadata.get("idempotency-key")
    if idempotency_key is not None and not 0 < len(idempotency_key) <= 255:
        raise InvalidRequest(FieldViolation("Idempotency-Key", "must be 1 to 255 characters"))
    return verifier.verify(stamp, metadata.get("x-request-id", ""), idempotency_key)
