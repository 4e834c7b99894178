"""Traces (W3C Trace Context, OpenTelemetry) across HTTP, gRPC and NATS.

Every process passes on the trace it was called with. Spans are made and exported only when an OTLP endpoint is
configured; without one the SDK is not even imported.

A span says of an error its type alone, and of what it is about ids alone: words may speak of people, and of secrets.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeAlias
from uuid import UUID

from opentelemetry import context as ambient
from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

Attributes: TypeAlias = Mapping[str, str | int | float]

# What is called, what reads an event, what calls somebody else.
SERVER, CONSUMER, CLIENT = SpanKind.SERVER, SpanKind.CONSUMER, SpanKind.CLIENT

_PROPAGATOR = TraceContextTextMapPropagator()

_provider: Any = None
_traces: ContextVar[Mapping[UUID, str]] = ContextVar("traces", default={})  # noqa: B039 - never written to


def configure(process: str, otlp_endpoint: str | None) -> None:
    """Export spans to the endpoint (gRPC, `http://host:4317`); without one, only pass on trace ids."""
    global _provider  # noqa: PLW0603 - a process has one provider, as OpenTelemetry wants it
    if otlp_endpoint is None:
        return
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    _provider = TracerProvider(resource=Resource.create({"service.name": process}))
    _provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=otlp_endpoint)))


def shut_down() -> None:
    """Export what is left. Blocks until it is sent or given up, so call it in a thread."""
    if _provider is not None:
        _provider.shutdown()


def current() -> str:
    """The `traceparent` to hand to whoever is called now; empty outside of any trace."""
    if not trace.get_current_span().get_span_context().is_valid:
        return ""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    return carrier["traceparent"]


def trace_id() -> str:
    """The id of the current trace, 32 hexadecimal digits; empty outside of any."""
    span_context = trace.get_current_span().get_span_context()
    return trace.format_trace_id(span_context.trace_id) if span_context.is_valid else ""


@contextmanager
def span(
    name: str, parent: str = "", kind: SpanKind = SpanKind.INTERNAL, attributes: Attributes | None = None
) -> Iterator[None]:
    """Work that belongs to the trace of `parent`, a traceparent from outside; a malformed one is ignored.

    Without a parent it belongs to the trace that is current here, if there is one.
    """
    outer = _PROPAGATOR.extract({"traceparent": parent}) if parent else None
    if _provider is not None:
        with _provider.get_tracer("flownurture").start_as_current_span(
            name,
            context=outer,
            kind=kind,
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as begun:
            try:
                yield
            except BaseException as error:
                begun.set_status(Status(StatusCode.ERROR, type(error).__name__))
                raise
        return
    if outer is None:
        yield
        return
    token = ambient.attach(outer)
    try:
        yield
    finally:
        ambient.detach(token)


def note(name: str, parent: str, *, seconds: float, attributes: Attributes) -> None:
    """A call to somebody else that took so long and has just ended, in the trace of `parent`; without one there is none to belong to."""
    if _provider is None or not parent:
        return
    ended = time.time_ns()
    _provider.get_tracer("flownurture").start_span(
        name,
        context=_PROPAGATOR.extract({"traceparent": parent}),
        kind=CLIENT,
        attributes=attributes,
        start_time=ended - int(seconds * 1e9),
    ).end(ended)


def here() -> Span:
    """The span that is current here, for `join`."""
    return trace.get_current_span()


def join(spans: Iterable[Span]) -> None:
    """Work of several traces is done together, in the one that is current here: it and each of them lead to one another."""
    done_in = here()
    for asked_in in spans:
        if asked_in is not done_in and asked_in.is_recording() and done_in.is_recording():
            asked_in.add_link(done_in.get_span_context())
            done_in.add_link(asked_in.get_span_context())


@contextmanager
def each_in_its_own(traces: Mapping[UUID, str]) -> Iterator[None]:
    """What is done together inside, in one trace, goes on in those that each thing came in: `trace_of` tells them, by id."""
    token = _traces.set(traces)
    try:
        yield
    finally:
        _traces.reset(token)


def trace_of(thing: UUID) -> str:
    """The traceparent with which a thing goes on: its own, or else what is current here."""
    return _traces.get().get(thing) or current()
