"""The RPCs of a servicer, read once at registration: what must hold before its method runs, and how to run it.

A servicer is a plain class with `service`, a service descriptor, and one coroutine method an RPC, in snake_case:

    async def create_contact(self, request, context, session) -> Contact      # in a tenant transaction
    async def log_in(self, request, context) -> LogInResponse                 # without one
    async def create_import(self, requests, context) -> Import                # client streaming, without one
    async def stream_recipients(self, request, context) -> AsyncIterator[…]   # server streaming: an async generator
"""

import inspect
import re
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from google.api import annotations_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from chassis import idempotency
from chassis.context import RequestContext
from chassis.contract.access import AccessMissing, AccessRule
from chassis.contract.bounds import checks_of, rule_of, violations
from chassis.database import Database
from chassis.errors import FieldViolation, InvalidRequest

# Reads a request that is within its bounds.
Read = Callable[[bytes], Message]
# A servicer's method.
Handler = Callable[..., Awaitable[Message]]
# Answers a request, or a stream of them, on behalf of a context. Requests are bytes until the caller is known.
Run = Callable[[Any, RequestContext], Awaitable[Message]]
# Answers a request with a stream of messages.
RunStream = Callable[[bytes, RequestContext], AsyncGenerator[Message, None]]

_READING = re.compile("(Get|List|BatchGet|Search|Count)[A-Z]")


class Servicer(Protocol):
    """Whatever implements a service of the contract."""

    service: ServiceDescriptor


@dataclass(frozen=True, slots=True)
class Method:
    """One RPC, ready to be called."""

    path: str
    access: AccessRule
    response_type: type[Message]
    client_streaming: bool
    run: Run


@dataclass(frozen=True, slots=True)
class StreamingMethod:
    """One RPC that answers with a stream, ready to be called."""

    path: str
    access: AccessRule
    response_type: type[Message]
    run: RunStream


def methods_of(servicer: Servicer, database: Database | None) -> Iterator[Method | StreamingMethod]:
    """The RPCs of a servicer. Exits the process, naming the RPC, for one that must not or cannot be served."""
    for descriptor in servicer.service.methods:
        try:
            access = AccessRule.of(descriptor)
        except AccessMissing as missing:
            raise SystemExit(f"{missing}: refusing to start") from None
        path = f"/{servicer.service.full_name}/{descriptor.name}"
        response_type = GetMessageClass(descriptor.output_type)
        if descriptor.server_streaming:
            yield StreamingMethod(path, access, response_type, _run_stream(descriptor, servicer))
        else:
            yield Method(
                path, access, response_type, descriptor.client_streaming, _run(descriptor, servicer, database)
            )


def _run(descriptor: MethodDescriptor, servicer: Servicer, database: Database | None) -> Run:
    handler = _handler(descriptor, servicer)
    read = _reader(descriptor.input_type)
    wants_session = "session" in inspect.signature(handler).parameters
    if descriptor.client_streaming:
        if wants_session:
            raise SystemExit(f"{descriptor.full_name} is a stream and cannot run in one transaction")
        return _streaming(handler, read, _wholes(descriptor))
    if not wants_session:
        return _plain(handler, read)
    if database is None:
        raise SystemExit(f"{descriptor.full_name} wants a session, but its process has no database")
    if _http_verb(descriptor) == "post":
        return _writing_once(handler, read, database, descriptor.full_name)
    return _in_transaction(handler, read, database, read_only=_only_reads(descriptor))


def _run_stream(descriptor: MethodDescriptor, servicer: Servicer) -> RunStream:
    if descriptor.client_streaming:
        raise SystemExit(f"{descriptor.full_name} streams both ways, which this chassis does not serve")
    name, handler = _named(descriptor, servicer)
    read = _reader(descriptor.input_type)
    # A transaction would last as long as the slowest reader.
    if not inspect.isasyncgenfunction(handler) or list(inspect.signature(handler).parameters) != [
        "request",
        "context",
    ]:
        raise SystemExit(
            f"{descriptor.full_name}: {type(servicer).__name__}.{name} must be an async generator,"
            f" `async def {name}(self, request, context)`"
        )
    return lambda request, context: handler(read(request), context)


def _named(descriptor: MethodDescriptor, servicer: Servicer) -> tuple[str, Callable[..., Any]]:
    name = re.sub("(?<!^)(?=[A-Z])", "_", descriptor.name).lower()
    handler = getattr(servicer, name, None)
    if handler is None:
        raise SystemExit(f"{type(servicer).__name__} has no method {name} for {descriptor.full_name}")
    return name, handler


def _handler(descriptor: MethodDescriptor, servicer: Servicer) -> Handler:
    name, handler = _named(descriptor, servicer)
    first = "requests" if descriptor.client_streaming else "request"
    parameters = list(inspect.signature(handler).parameters)
    if not inspect.iscoroutinefunction(handler) or parameters not in (
        [first, "context"],
        [first, "context", "session"],
    ):
        raise SystemExit(
            f"{descriptor.full_name}: {type(servicer).__name__}.{name} must be"
            f" `async def {name}(self, {first}, context)`, with `session` last if it needs one"
        )
    return handler


def _plain(handler: Handler, read: Read) -> Run:
    async def run(request: bytes, context: RequestContext) -> Message:
        return await handler(read(request), context)

    return run


def _in_transaction(handler: Handler, read: Read, database: Database, *, read_only: bool) -> Run:
    async def run(request: bytes, context: RequestContext) -> Message:
        message = read(request)
        async with database.tenant_transaction(context, read_only=read_only) as session:
            return await handler(message, context, session)

    return run


def _writing_once(handler: Handler, read: Read, database: Database, method: str) -> Run:
    """Run in a transaction; with an idempotency key, the answer is kept in it and given again."""

    async def run(request: bytes, context: RequestContext) -> Message:
        message = read(request)
        async with database.tenant_transaction(context) as session:
            if context.idempotency_key is None:
                return await handler(message, context, session)
            fingerprint = idempotency.fingerprint_of(method, message)
            return await idempotency.remembered(
                session, context, method, fingerprint, lambda: handler(message, context, session)
            )

    return run


def _streaming(handler: Handler, read: Read, wholes: dict[str, int]) -> Run:
    async def run(requests: AsyncIterable[bytes], context: RequestContext) -> Message:
        return await handler(_messages(requests, read, wholes), context)

    return run


async def _messages(
    requests: AsyncIterable[bytes], read: Read, wholes: dict[str, int]
) -> AsyncIterator[Message]:
    """The messages of a stream; each is within its bounds, and each of the `wholes` with what came before."""
    received = dict.fromkeys(wholes, 0)
    async for request in requests:
        message = read(request)
        for name, most in wholes.items():
            received[name] += len(getattr(message, name))
            if received[name] > most:
                raise InvalidRequest(
                    FieldViolation(name, f"must be at most {most:,} bytes in all"),
                    message=f"The upload is larger than {most:,} bytes.",
                    reason="PAYLOAD_TOO_LARGE",
                )
        yield message


def _reader(request: Descriptor) -> Read:
    """Reads a request and refuses what is malformed or breaks a bound."""
    parse: Callable[[bytes], Message] = GetMessageClass(request).FromString
    checks_of(request)

    def read(data: bytes) -> Message:
        try:
            message = parse(data)
        except DecodeError:
            raise InvalidRequest(message="The request cannot be decoded.") from None
        found = violations(message)
        if found:
            raise InvalidRequest(*found)
        return message

    return read


def _wholes(descriptor: MethodDescriptor) -> dict[str, int]:
    """The fields that carry an upload in pieces, with the most bytes that the pieces may have in all."""
    return {
        field.name: rule_of(field).max_bytes
        for field in descriptor.input_type.fields
        if field.type == FieldDescriptor.TYPE_BYTES and rule_of(field).max_bytes
    }


def _http_verb(descriptor: MethodDescriptor) -> str | None:
    verb: str | None = descriptor.GetOptions().Extensions[annotations_pb2.http].WhichOneof("pattern")
    return verb


def _only_reads(descriptor: MethodDescriptor) -> bool:
    verb = _http_verb(descriptor)
    return verb == "get" or (verb is None and _READING.match(descriptor.name) is not None)
