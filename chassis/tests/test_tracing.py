"""Traces go on from caller to called, and leave the process only when it is told where to."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as collector_pb
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as collector_grpc

from chassis import tracing

ROOT = Path(__file__).parents[2]
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"

PROGRAM = f"""
import sys
from chassis import tracing

tracing.configure("contacts", sys.argv[1])
with tracing.span("outer", "{PARENT}"):
    with tracing.span("inner"):
        print(tracing.current())
tracing.shut_down()
"""


def test_work_belongs_to_the_trace_of_its_parent_and_only_while_it_lasts() -> None:
    with tracing.span("work", PARENT):
        assert tracing.current() == PARENT
        assert tracing.trace_id() == TRACE
        with tracing.span("part of it"):
            assert tracing.trace_id() == TRACE
    assert tracing.current() == ""
    assert tracing.trace_id() == ""


@pytest.mark.parametrize(
    "parent", ["", "garbage", "00-" + "0" * 32 + "-00f067aa0ba902b7-01", PARENT.upper(), "0" * 9999]
)
def test_a_parent_that_is_none_is_ignored(parent: str) -> None:
    with tracing.span("work", parent):
        assert tracing.current() == ""


class Collector(collector_grpc.TraceServiceServicer):
    def __init__(self) -> None:
        self.spans: list[Any] = []

    def Export(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's name
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                self.spans.extend(scope.spans)
        return collector_pb.ExportTraceServiceResponse()


def test_spans_go_to_the_endpoint_and_continue_the_trace() -> None:
    collector = Collector()
    server = grpc.server(ThreadPoolExecutor(1))
    collector_grpc.add_TraceServiceServicer_to_server(collector, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, f"http://127.0.0.1:{port}"],
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'proto' / 'gen'}", "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    server.stop(None)
    inner, outer = sorted(collector.spans, key=lambda span: str(span.name))
    assert (inner.name, outer.name) == ("inner", "outer")
    assert inner.trace_id.hex() == outer.trace_id.hex() == TRACE
    assert outer.parent_span_id.hex() == "00f067aa0ba902b7"
    assert inner.parent_span_id == outer.span_id
    assert ran.stdout.strip() == f"00-{TRACE}-{inner.span_id.hex()}-01"
