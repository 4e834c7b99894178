"""Check the contract: `python proto/lint.py`. Style by buf, and the house's own rules over the descriptors.

Every RPC says who may call it, in a way that makes sense; no tenant's request names an organization; everything that a
request can hold is bounded; every event has a subject of its own domain. A finding names the symbol and the rule.
"""

import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

# The generated code is a source root of its own.
sys.path.insert(0, str(Path(__file__).parent / "gen"))

from generate import SOURCE, compile_protos, sources
from google.api import annotations_pb2
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
)

from flownurture.options.v1 import access_pb2, event_pb2, field_pb2

_HTTP_VERBS = ("get", "post", "put", "patch", "delete")
_ORGANIZATION_WORDS = {"organization", "org", "tenant", "workspace"}
# Types of others that bound themselves.
_BOUNDED_TYPES = {".google.protobuf.Timestamp", ".google.protobuf.Empty", ".google.protobuf.Duration"}
# Types of others whose encoded size must be bounded.
_BY_MAX_BYTES = {".google.api.HttpBody", ".google.protobuf.Struct"}
_OF_TENANTS = {access_pb2.AUDIENCE_TENANT, access_pb2.AUDIENCE_ACCOUNT, access_pb2.AUDIENCE_PUBLIC}
_SELF_BOUNDED = {field_pb2.FORMAT_UUID, field_pb2.FORMAT_EMAIL, field_pb2.FORMAT_URL, field_pb2.FORMAT_SCOPE}
_SELF_BOUNDED |= {field_pb2.FORMAT_PAGE_TOKEN, field_pb2.FORMAT_LINK_TOKEN}
_SIZED_BY_LENGTH = {FieldDescriptorProto.TYPE_STRING, FieldDescriptorProto.TYPE_BYTES}


class Contract:
    """The proto files of the contract, with every message by its full name."""

    def __init__(self, files: Sequence[FileDescriptorProto]) -> None:
        self.files = files
        self.messages = {
            f".{file.package}.{message.name}": message for file in files for message in file.message_type
        }
        for name, message in list(self.messages.items()):
            self.messages |= {f"{name}.{nested.name}": nested for nested in message.nested_type}

    def findings(self) -> list[str]:
        """What breaks a rule, sorted by symbol."""
        found = [*self._routes_used_twice()]
        for file in self.files:
            for service in file.service:
                for method in service.method:
                    symbol = f"{file.package}.{service.name}.{method.name}"
                    found += self._access(symbol, method)
                    found += self._request(symbol, method)
            if file.name.endswith("/events.proto"):
                found += _events(file)
        return sorted(found)

    def _access(self, symbol: str, method: MethodDescriptorProto) -> Iterator[str]:
        access = method.options.Extensions[access_pb2.access]
        routed = bool(route_of(method))
        match access.audience:
            case access_pb2.AUDIENCE_UNSPECIFIED:
                yield f"{symbol}: has no access option with an audience"
            case access_pb2.AUDIENCE_INTERNAL:
                if not access.callers:
                    yield f"{symbol}: is internal and names no callers"
                if routed:
                    yield f"{symbol}: is internal and has a route"
            case access_pb2.AUDIENCE_TENANT:
                if not access.role:
                    yield f"{symbol}: is for tenants and names no least role"
        if access.audience != access_pb2.AUDIENCE_INTERNAL and not routed:
            yield f"{symbol}: is public to the gateway and has no route"
        admin = route_of(method).startswith("/v1/admin/")
        if admin != (access.audience == access_pb2.AUDIENCE_PLATFORM):
            yield f"{symbol}: the audience PLATFORM and routes under /v1/admin/ belong together"

    def _request(self, symbol: str, method: MethodDescriptorProto) -> Iterator[str]:
        audience = method.options.Extensions[access_pb2.access].audience
        for path, field in self._fields(method.input_type, ()):
            if audience in _OF_TENANTS and _names_organization(field.name):
                yield f"{symbol}: request field {path} names an organization"
            if problem := self._unbounded(field):
                yield f"{symbol}: request field {path} {problem}"

    def _fields(self, message: str, above: tuple[str, ...]) -> Iterator[tuple[str, FieldDescriptorProto]]:
        # A message within itself has been looked at already.
        if message in above or message not in self.messages:
            return
        for field in self.messages[message].field:
            yield field.name, field
            if field.type == FieldDescriptorProto.TYPE_MESSAGE:
                for path, inner in self._fields(field.type_name, (*above, message)):
                    yield f"{field.name}.{path}", inner

    def _unbounded(self, field: FieldDescriptorProto) -> str:
        rule = field.options.Extensions[field_pb2.field]
        # A list's items and a map's entries; what a map's own fields hold is bounded by the map.
        if field.label == FieldDescriptorProto.LABEL_REPEATED and not rule.max_items:
            return "is a list or map without max_items"
        if field.type in _SIZED_BY_LENGTH and not (rule.max_length or rule.format in _SELF_BOUNDED):
            return "has neither max_length nor a format that bounds it"
        if field.type_name in _BY_MAX_BYTES and not rule.max_bytes:
            return "has no max_bytes"
        foreign = field.type == FieldDescriptorProto.TYPE_MESSAGE and field.type_name not in self.messages
        if foreign and field.type_name not in _BOUNDED_TYPES | _BY_MAX_BYTES:
            return f"has the type {field.type_name}, of which no bound is known"
        return ""

    def _routes_used_twice(self) -> Iterator[str]:
        routes = Counter(
            f"{verb_of(method)} {route_of(method)}"
            for file in self.files
            for service in file.service
            for method in service.method
            if route_of(method)
        )
        for route, times in routes.items():
            if times > 1:
                yield f"{route}: is the route of {times} RPCs"


def verb_of(method: MethodDescriptorProto) -> str:
    """The HTTP method of an RPC's route; empty when it has none."""
    return str(method.options.Extensions[annotations_pb2.http].WhichOneof("pattern") or "").upper()


def route_of(method: MethodDescriptorProto) -> str:
    """The path of an RPC's route; empty when it has none."""
    rule = method.options.Extensions[annotations_pb2.http]
    verb = rule.WhichOneof("pattern")
    return str(getattr(rule, verb)) if verb in _HTTP_VERBS else ""


def _names_organization(field: str) -> bool:
    words = field.split("_")
    return words[0] in _ORGANIZATION_WORDS and words[-1] in {*_ORGANIZATION_WORDS, "id", "ids"}


def _events(file: FileDescriptorProto) -> Iterator[str]:
    domain = file.package.split(".")[1]
    contained = {
        field.type_name
        for message in file.message_type
        for field in message.field
        if field.type == FieldDescriptorProto.TYPE_MESSAGE
    }
    for message in file.message_type:
        symbol = f"{file.package}.{message.name}"
        subject = message.options.Extensions[event_pb2.subject]
        if not subject and f".{symbol}" not in contained:
            yield f"{symbol}: is an event without a subject"
        elif subject and not subject.startswith(f"flownurture.{domain}."):
            yield f"{symbol}: its subject is not of its own domain"
        yield from _event_about_organization(symbol, message)


def _event_about_organization(symbol: str, message: DescriptorProto) -> Iterator[str]:
    for field in message.field:
        if _names_organization(field.name):
            yield f"{symbol}: {field.name} belongs to the envelope"


def contract(image: Path) -> Contract:
    """Compile the contract, with everything it imports, into an image, and read its own files from it."""
    everything = ["--include_imports", "--include_source_info"]
    compile_protos(sources(), f"--descriptor_set_out={image}", *everything)
    files = FileDescriptorSet.FromString(image.read_bytes()).file
    return Contract([file for file in files if file.package.startswith("flownurture.")])


def main() -> int:
    """Print what was found; 1 when anything was."""
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder, "contract.binpb")
        findings = contract(image).findings()
        style = subprocess.run(  # noqa: S603 - a tool of ours
            ["buf", "lint", str(image), "--config", str(SOURCE / "buf.yaml")],  # noqa: S607 - from our environment
            check=False,
            capture_output=True,
            text=True,
        )
    findings += [line for line in style.stdout.splitlines() + style.stderr.splitlines() if line]
    for finding in findings:
        print(finding)
    return 1 if findings or style.returncode else 0


if __name__ == "__main__":
    sys.exit(main())
