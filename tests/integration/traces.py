"""What processes have exported to a collector of spans."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from opentelemetry.proto.collector.trace.v1 import trace_service_pb2


@dataclass(frozen=True)
class Spans:
    """Of one trace, each with the name of its process."""

    found: Sequence[tuple[str, Any]]

    @classmethod
    def of(cls, trace_id: str, exported: Sequence[bytes]) -> "Spans":
        """Those of a trace, in the order of their beginnings."""
        found = [
            (_process(resource), span)
            for request in map(trace_service_pb2.ExportTraceServiceRequest.FromString, list(exported))
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
            if span.trace_id.hex() == trace_id
        ]
        return cls(sorted(found, key=lambda each: each[1].start_time_unix_nano))

    def way_to(self, name: str) -> list[tuple[str, str]]:
        """From the first to the one of this name, each the parent of the next; empty when there is none."""
        by_id = {span.span_id: (process, span) for process, span in self.found}
        way = [each for each in self.found if each[1].name == name]
        while way and (parent := by_id.get(way[0][1].parent_span_id)) is not None:
            way.insert(0, parent)
        return [(process, span.name) for process, span in way]


def _process(resource: Any) -> str:
    told = {attribute.key: attribute.value.string_value for attribute in resource.resource.attributes}
    return str(told["service.name"])
