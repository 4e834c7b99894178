"""The RPCs of a servicer, read once at registration: what must hold before its method runs, and how to run it.

A servicer is a plain class with `service`, a service descriptor, and one coroutine method an RPC, in snake_case:

    async def create_contact(self, request, context, session) -> Contact      # in a tenant transaction
    async def log_in(self, request, context) -> LogInResponse                 # without one
    async def create_import(self, requests, context) -> Import                # client streaming, without one
"""

import inspect
import re
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Protocol

from google.api import annotations_pb2
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from chassis import idempotency
from chassis.context import RequestContext
from chassis.contract.access import AccessMissing, AccessRule
from chassis.contract.bounds import checks_of, rule_of, violations
from chassis.database import Database
from chassis.errors import FieldViolation, InvalidRequest

# Answers a request, or a stream of them, on behalf of a context.
Run = Callable[[Any, RequestContext], Awaitable[Message]]

_READING = re.compile("(Get|List|BatchGet|Search|Count)[A-Z]")


class Servicer(Protocol):
    """Whatever implements a service of the contract."""

    service: ServiceDescriptor


@dataclass(frozen=True, slots=True)
class Method:
    """One RPC, ready to be called."""

    path: str
    access: AccessRule
    request_type: type[Message]
    response_type: type[Message]
    client_streaming: bool
    run: Run


def methods_of(servicer: Servicer, database: Database | None) -> Iterator[Method]:
    """The RPCs of a servicer. Exits the process, naming the RPC, for one that must not or cannot be served."""
    for descriptor in servicer.service.methods:
        try:
            access = AccessRule.of(descriptor)
        except AccessMissing as missing:
            raise SystemExit(f"{missing}: refusing to start") from None
        request_type = GetMessageClass(descriptor.input_type)
        checks_of(descriptor.input_type)
        yield Method(
            path=f"/{servicer.service.full_name}/{descriptor.name}",
            access=access,
            request_type=request_type,
            response_type=GetMessageClass(descriptor.output_type),
            client_streaming=descriptor.client_streaming,
            run=_run(descriptor, servicer, database),
        )


def _run(descriptor: MethodDescriptor, servicer: Servicer, database: Database | None) -> Run:
    handler = _handler(descriptor, servicer)
    if descriptor.server_streaming:
        raise SystemExit(f"{descriptor.full_name} streams its answer, which this chassis does not serve")
    wants_session = list(inspect.signature(handler).parameters)[2:] == ["session"]
    if descriptor.client_streaming:
        if wants_session:
            raise SystemExit(f"{descriptor.full_name} is a stream and cannot run in one transaction")
        return _streaming(descriptor, handler)
    if not wants_session:
        return _plain(handler)
    if database is None:
        raise SystemExit(f"{descriptor.full_name} wants a session, but its process has no database")
    if _http_verb(descriptor) == "post":
        return _writing_once(descriptor, handler, database)
    return _in_transaction(handler, database, read_only=_only_reads(descriptor))


def _handler(descriptor: MethodDescriptor, servicer: Servicer) -> Callable[..., Awaitable[Message]]:
    name = re.sub("(?<!^)(?=[A-Z])", "_", descriptor.name).lower()
    handler = getattr(servicer, name, None)
    if handler is None:
        raise SystemExit(f"{type(servicer).__name__} has no method {name} for {descriptor.full_name}")
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
    return handler  # type: ignore[no-any-return]


def _plain(handler: Callable[..., Awaitable[Message]]) -> Run:
    async def run(request: Message, context: RequestContext) -> Message:
        _refuse_what_breaks_bounds(request)
        return await handler(request, context)

    return run


def _in_transaction(
    handler: Callable[..., Awaitable[Message]], database: Database, *, read_only: bool
) -> Run:
    async def run(request: Message, context: RequestContext) -> Message:
        _refuse_what_breaks_bounds(request)
        async with database.tenant_transaction(context, read_only=read_only) as session:
            return await handler(request, context, session)

    return run


def _writing_once(
    descriptor: MethodDescriptor, handler: Callable[..., Awaitable[Message]], database: Database
) -> Run:
    """Run in a transaction; with an idempotency key, the answer is kept in it and given again."""
    path = descriptor.full_name

    async def run(request: Message, context: RequestContext) -> Message:
        _refuse_what_breaks_bounds(request)
        async with database.tenant_transaction(context) as session:
            fingerprint = sha256(path.encode() + b"\n" + request.SerializeToString(deterministic=True))
            return await idempotency.remembered(
                session, context, path, fingerprint.digest(), lambda: handler(request, context, session)
            )

    return run


def _streaming(descriptor: MethodDescriptor, handler: Callable[..., Awaitable[Message]]) -> Run:
    wholes = [
        (field.name, rule_of(field).max_bytes)
        for field in descriptor.input_type.fields
        if field.type == FieldDescriptor.TYPE_BYTES and rule_of(field).max_bytes
    ]

    async def run(requests: AsyncIterable[Message], context: RequestContext) -> Message:
        return await handler(_within_bounds(requests, wholes), context)

    return run


async def _within_bounds(
    requests: AsyncIterable[Message], wholes: list[tuple[str, int]]
) -> AsyncIterator[Message]:
    """The requests, each checked, and each of the `wholes` with what came of it before."""
    received = dict.fromkeys((name for name, _ in wholes), 0)
    async for request in requests:
        _refuse_what_breaks_bounds(request)
        for name, most in wholes:
            received[name] += len(getattr(request, name))
            if received[name] > most:
                raise InvalidRequest(
                    FieldViolation(name, f"must be at most {most:,} bytes in all"),
                    message=f"The upload is larger than {most:,} bytes.",
                    reason="PAYLOAD_TOO_LARGE",
                )
        yield request


def _refuse_what_breaks_bounds(request: Message) -> None:
    found = violations(request)
    if found:
        raise InvalidRequest(*found)


def _http_verb(descriptor: MethodDescriptor) -> str | None:
    verb: str | None = descriptor.GetOptions().Extensions[annotations_pb2.http].WhichOneof("pattern")
    return verb


def _only_reads(descriptor: MethodDescriptor) -> bool:
    verb = _http_verb(descriptor)
    return verb == "get" or (verb is None and _READING.match(descriptor.name) is not None)
