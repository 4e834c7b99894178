"""Traces (W3C Trace Context, OpenTelemetry) across HTTP, gRPC and NATS.

Every process passes on the trace it was called with. Spans are made and exported only when an OTLP endpoint is
configured; without one the SDK is not even imported.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry import context as ambient
from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_PROPAGATOR = TraceContextTextMapPropagator()

_provider: Any = None


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
def span(name: str, parent: str = "") -> Iterator[None]:
    """Work that belongs to the trace of `parent`, a traceparent from outside; a malformed one is ignored.

    Without a parent it belongs to the trace that is current here, if there is one.
    """
    outer = _PROPAGATOR.extract({"traceparent": parent}) if parent else None
    if _provider is not None:
        with _provider.get_tracer("flownurture").start_as_current_span(name, context=outer):
            yield
        return
    if outer is None:
        yield
        return
    token = ambient.attach(outer)
    try:
        yield
    finally:
        ambient.detach(token)
