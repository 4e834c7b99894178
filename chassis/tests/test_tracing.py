"""Traces go on from caller to called, and leave the process only when it is told where to."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import UUID

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


BATCHES = (UUID(int=1), UUID(int=2))


def test_what_is_done_together_goes_on_in_the_trace_that_each_thing_came_in() -> None:
    theirs = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with tracing.span("work", PARENT), tracing.each_in_its_own({BATCHES[0]: theirs, BATCHES[1]: ""}):
        assert tracing.trace_of(BATCHES[0]) == theirs
        assert tracing.trace_of(BATCHES[1]) == PARENT
    assert tracing.trace_of(BATCHES[0]) == ""


def test_nothing_is_noted_where_spans_go_nowhere() -> None:
    tracing.note("SMTP", PARENT, seconds=1.0, attributes={})


class Collector(collector_grpc.TraceServiceServicer):
    def __init__(self) -> None:
        self.spans: list[Any] = []

    def Export(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's name
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                self.spans.extend(scope.spans)
        return collector_pb.ExportTraceServiceResponse()


def exported_by(program: str) -> tuple[list[Any], str]:
    """The spans of a program, and what it printed."""
    collector = Collector()
    server = grpc.server(ThreadPoolExecutor(1))
    collector_grpc.add_TraceServiceServicer_to_server(collector, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    ran = subprocess.run(
        [sys.executable, "-c", program, f"http://127.0.0.1:{port}"],
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'proto' / 'gen'}", "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    server.stop(None)
    return sorted(collector.spans, key=lambda span: str(span.name)), ran.stdout.strip()


def test_spans_go_to_the_endpoint_and_continue_the_trace() -> None:
    (inner, outer), printed = exported_by(PROGRAM)
    assert (inner.name, outer.name) == ("inner", "outer")
    assert inner.trace_id.hex() == outer.trace_id.hex() == TRACE
    assert outer.parent_span_id.hex() == "00f067aa0ba902b7"
    assert inner.parent_span_id == outer.span_id
    assert printed == f"00-{TRACE}-{inner.span_id.hex()}-01"


WORK = f"""
import sys
from chassis import tracing

tracing.configure("contacts", sys.argv[1])
with tracing.span("done", "{PARENT}"):
    with tracing.span("asked", "00-{"ab" * 16}-{"cd" * 8}-01"):
        asked = tracing.here()
        try:
            with tracing.span("failed"):
                raise LookupError("ada@example.com is no contact")
        except LookupError:
            pass
        with tracing.span("together", "{PARENT}"):
            tracing.join([asked, tracing.here()])
    tracing.note("noted", tracing.current(), seconds=2.0, attributes={{"smtp.reply_code": 250}})
tracing.shut_down()
"""


def test_spans_lead_to_one_another_last_as_long_as_they_say_and_tell_of_errors_the_type_alone() -> None:
    spans = {span.name: span for span in exported_by(WORK)[0]}
    asked, together, noted = spans["asked"], spans["together"], spans["noted"]
    assert [link.trace_id for link in together.links] == [asked.trace_id]
    assert [link.span_id for link in asked.links] == [together.span_id]
    assert noted.end_time_unix_nano - noted.start_time_unix_nano == 2_000_000_000
    assert noted.parent_span_id == spans["done"].span_id
    assert noted.attributes[0].value.int_value == 250
    assert spans["failed"].status.message == "LookupError"
    assert not [span.name for span in spans.values() if b"ada@example.com" in span.SerializeToString()]
