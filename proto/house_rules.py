"""The house's own rules of the contract, over descriptors: what no general linter can know.

Every RPC says who may call it, in a way that makes sense; whoever belongs to an organization never names it; all that a
request can hold is bounded; lists come in pages; every event has one subject, of its own domain.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from google.api import annotations_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor, FileDescriptor, MethodDescriptor

from chassis.contract.access import AccessMissing, AccessRule, Audience
from chassis.contract.rules import FieldRule, Format, rule_of
from flownurture.options.v1 import access_pb2, event_pb2

# The names by which processes stamp what they send to each other.
PROCESSES = {
    "contacts",
    "delivery",
    "feedback",
    "gateway",
    "identity",
    "integrations",
    "sending",
    "suppression",
    "webhooks",
    "workflows",
}
ADMIN = "/v1/admin/"
SCOPE = re.compile(r"[a-z][a-z_]*:(read|write)")
PATH_VARIABLE = re.compile(r"\{([a-z_.]+)(?:=[^}]*)?\}")
FILE_NAME = re.compile(r"[a-z][a-z0-9-]*\.[a-z]+")
ORGANIZATION_NAMES = re.compile(r"(organi[sz]ation|org|tenant|workspace)(_?ids?|s)?")
HEADER = re.compile(r"[a-z][a-z0-9-]{0,62}")
# Those of the connection, of the gateway, and of who a client is; besides, all that begin so.
HEADERS_NOT_TO_BE_HAD = frozenset(
    (
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "cookie",
        "expect",
        "forwarded",
        "host",
        "idempotency-key",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "via",
        "x-real-ip",
        "x-request-id",
    )
)
HEADER_FAMILIES_NOT_TO_BE_HAD = ("grpc-", "proxy-", "sec-", "trace", "x-flownurture-", "x-forwarded-")
AUTHORIZATION = "authorization"
BOUNDED_BY_THEMSELVES = frozenset(("google.protobuf.Timestamp", "google.protobuf.Duration"))
BOUNDED_BY_BYTES = frozenset(
    (
        "google.api.HttpBody",
        "google.protobuf.FieldMask",
        "google.protobuf.ListValue",
        "google.protobuf.Struct",
        "google.protobuf.Value",
    )
)


@dataclass(frozen=True, order=True)
class Finding:
    """One place where the contract breaks a rule."""

    file: str
    symbol: str
    rule: str

    def __str__(self) -> str:
        return f"{self.file}: {self.symbol}: {self.rule}"


@dataclass(frozen=True)
class Route:
    """Where an RPC stands on the public edge."""

    verb: str
    path: str
    body: str

    @property
    def shape(self) -> str:
        """The route with its variables unnamed: two routes of one shape cannot be told apart."""
        return f"{self.verb} {PATH_VARIABLE.sub('{}', self.path)}"


def route_of(method: MethodDescriptor) -> Route | None:
    """The REST route of an RPC; None for one that is not reachable from outside."""
    options = method.GetOptions()
    if not options.HasExtension(annotations_pb2.http):
        return None
    http = options.Extensions[annotations_pb2.http]
    verb = http.WhichOneof("pattern")
    return Route(verb.upper(), getattr(http, verb), http.body)


def findings(files: Iterable[FileDescriptor]) -> list[Finding]:
    """Everything in these files that breaks a rule, in the order of files and symbols."""
    files = list(files)
    methods = [method for file in files for service in _services(file) for method in service]
    found = [*_routes_that_collide(methods), *_events(files)]
    for method in methods:
        found += [Finding(method.containing_service.file.name, *wrong) for wrong in _method(method)]
    return sorted(set(found))


def _services(file: FileDescriptor) -> Iterator[list[MethodDescriptor]]:
    for service in file.services_by_name.values():
        yield list(service.methods)


# A symbol and the rule that it breaks.
Wrong = tuple[str, str]


def _method(method: MethodDescriptor) -> Iterator[Wrong]:
    try:
        rule = AccessRule.of(method)
    except AccessMissing as missing:
        yield method.full_name, f"every RPC says who may call it ({missing})"
        return
    route = route_of(method)
    for broken in [
        *_access(method, rule.audience, route),
        *_route(method, route),
        *_pages(method, route),
        *_file(method, route),
        *_result(method, route),
        *_delegates(method, route),
    ]:
        yield method.full_name, broken
    if rule.audience is not Audience.PLATFORM:
        yield from _organization_named(method.input_type)
    yield from _headers(method, rule.audience, route)
    yield from _unbounded(method.input_type, streamed=method.client_streaming)


def _access(method: MethodDescriptor, audience: Audience, route: Route | None) -> Iterator[str]:
    """What of an access option nobody could follow, or nobody would read."""
    access = method.GetOptions().Extensions[access_pb2.access]
    if audience is Audience.INTERNAL:
        if route is not None:
            yield "an INTERNAL RPC has no route"
        for stranger in sorted(set(access.callers) - PROCESSES):
            yield f"a caller is a process of the platform, which {stranger!r} is not"
    elif access.callers:
        yield "callers are named by INTERNAL RPCs alone"
    if audience is not Audience.INTERNAL and route is None:
        yield f"a {audience.name} RPC has a route"
    if route is not None and route.path.startswith(ADMIN) != (audience is Audience.PLATFORM):
        yield f"PLATFORM RPCs, and they alone, stand under {ADMIN}"
    yield from _tenant_access(access, audience, route)
    if audience is Audience.PLATFORM and access.role != access_pb2.ROLE_SUPER_ADMIN:
        yield "a PLATFORM RPC takes ROLE_SUPER_ADMIN"
    if audience not in (Audience.TENANT, Audience.PLATFORM) and access.role:
        yield f"a {audience.name} RPC asks for no role"


def _tenant_access(access: access_pb2.Access, audience: Audience, route: Route | None) -> Iterator[str]:
    if audience is not Audience.TENANT:
        if access.scope or access.feature or access.delegates:
            yield "scope, feature and delegates belong to TENANT RPCs alone"
        return
    for stranger in sorted(set(access.delegates) - PROCESSES):
        yield f"a delegate is a process of the platform, which {stranger!r} is not"
    if access.role not in (access_pb2.ROLE_MEMBER, access_pb2.ROLE_ORG_ADMIN):
        yield "a TENANT RPC takes ROLE_MEMBER or ROLE_ORG_ADMIN"
    if not access.scope:
        return
    if not SCOPE.fullmatch(access.scope):
        yield f"a scope is <resource>:read or <resource>:write, which {access.scope!r} is not"
    elif route is not None and (route.verb == "GET") != access.scope.endswith(":read"):
        yield "a GET takes a scope that reads, everything else one that writes"


def _route(method: MethodDescriptor, route: Route | None) -> Iterator[str]:
    if route is None:
        return
    for variable in PATH_VARIABLE.findall(route.path):
        if variable not in method.input_type.fields_by_name:
            yield f"the variable {{{variable}}} of the path is a field of {method.input_type.name}"
    if route.verb in ("GET", "DELETE"):
        if route.body:
            yield f"a {route.verb} has no body"
    elif not route.body:
        yield f"a {route.verb} has a body"
    elif route.body != "*" and route.body not in method.input_type.fields_by_name:
        yield f"the body {route.body!r} is a field of {method.input_type.name}"


def _pages(method: MethodDescriptor, route: Route | None) -> Iterator[str]:
    """Lists have a most; those of the public edge are continued by an opaque token."""
    if not method.name.startswith("List"):
        return
    asked, answered = method.input_type.fields_by_name, method.output_type.fields_by_name
    if "page_size" not in asked or not rule_of(asked["page_size"]).maximum:
        yield "a List RPC has a page_size with a max"
    if route is None:
        return
    if "page_token" not in asked or rule_of(asked["page_token"]).format is not Format.PAGE_TOKEN:
        yield "a List RPC has a page_token of FORMAT_PAGE_TOKEN"
    if "next_page_token" not in answered:
        yield "a List RPC answers with a next_page_token"


def _file(method: MethodDescriptor, route: Route | None) -> Iterator[str]:
    """What the public edge streams is a file, and only that is."""
    name = method.GetOptions().Extensions[access_pb2.download]
    is_told = bool(method.GetOptions().Extensions[access_pb2.result])
    if not name and (is_told or route is None or not method.server_streaming):
        return
    is_file = method.server_streaming and method.output_type.full_name == "google.api.HttpBody"
    if route is None or route.verb != "GET" or not is_file or not FILE_NAME.fullmatch(name):
        yield "a public RPC that streams is a GET of google.api.HttpBody with a download name, and nothing else has one"


def _delegates(method: MethodDescriptor, route: Route | None) -> Iterator[str]:
    """Nobody changes anything for somebody else."""
    access = method.GetOptions().Extensions[access_pb2.access]
    reads = route is not None and (route.verb == "GET" or method.name.startswith("Preview"))
    if access.delegates and not reads:
        yield "an RPC that names delegates reads: a GET, or a preview"


def _result(method: MethodDescriptor, route: Route | None) -> Iterator[str]:
    """What the public edge tells bit by bit has events of one oneof, and one of them is the last."""
    name = method.GetOptions().Extensions[access_pb2.result]
    if not name:
        return
    fields = method.output_type.fields
    of_one_choice = len(method.output_type.oneofs) == 1 and all(
        field.containing_oneof is not None and field.message_type is not None for field in fields
    )
    if (
        route is None
        or not method.server_streaming
        or not of_one_choice
        or name not in (f.name for f in fields)
    ):
        yield "an RPC with a result has a route and streams messages of one oneof of messages, of which the result is one"


def _reachable(message: Descriptor) -> Iterator[FieldDescriptor]:
    """The fields of a message and of every message of the contract within it, each once."""
    seen, waiting = {message.full_name}, [message]
    while waiting:
        for field in waiting.pop().fields:
            yield field
            inner = _message_within(field)
            if inner is None or not inner.full_name.startswith("flownurture.") or inner.full_name in seen:
                continue
            seen.add(inner.full_name)
            waiting.append(inner)


def _message_within(field: FieldDescriptor) -> Descriptor | None:
    """The message that a field holds, one by one or as the values of a map."""
    entry = _map_entry(field)
    return entry.fields_by_name["value"].message_type if entry is not None else field.message_type


def _map_entry(field: FieldDescriptor) -> Descriptor | None:
    held = field.message_type
    return held if held is not None and held.GetOptions().map_entry else None


def _organization_named(request: Descriptor) -> Iterator[Wrong]:
    for field in _reachable(request):
        if ORGANIZATION_NAMES.fullmatch(field.name):
            yield field.full_name, "the organization is never an argument: it comes with the credential"


def _headers(method: MethodDescriptor, audience: Audience, route: Route | None) -> Iterator[Wrong]:
    """What of a request comes from a header: only what nobody else has a use for."""
    own = {field.full_name for field in method.input_type.fields}
    taken: set[str] = set()
    for field in _reachable(method.input_type):
        name = rule_of(field).from_header
        if not name:
            continue
        if field.full_name not in own or route is None or method.client_streaming:
            yield field.full_name, "a header fills a field of the request of an RPC with a route, no upload"
        elif field.name in (route.body, *PATH_VARIABLE.findall(route.path)):
            yield field.full_name, "what a header fills neither path nor body does"
        if field.type != FieldDescriptor.TYPE_STRING or field.is_repeated or not rule_of(field).max_length:
            yield field.full_name, "a header fills a single string with a max_length"
        if not HEADER.fullmatch(name) or name in taken:
            yield field.full_name, "a header has a name in lower case, and fills one field"
        if name in HEADERS_NOT_TO_BE_HAD or name.startswith(HEADER_FAMILIES_NOT_TO_BE_HAD):
            yield field.full_name, f"the header {name} is the gateway's own business"
        if name == AUTHORIZATION and audience is not Audience.PUBLIC:
            yield (
                field.full_name,
                "a client's credential goes no further than the gateway, but for PUBLIC RPCs",
            )
        taken.add(name)


def _unbounded(request: Descriptor, *, streamed: bool) -> Iterator[Wrong]:
    for field in _reachable(request):
        rule = rule_of(field)
        if field.is_repeated and not rule.max_items:
            yield field.full_name, "what a request may repeat has max_items"
        entry = _map_entry(field)
        for value in entry.fields if entry is not None else [field]:
            broken = _unbounded_value(value, rule)
            if broken is not None:
                yield field.full_name, broken
        if streamed and field.type == FieldDescriptor.TYPE_BYTES and not rule.max_bytes:
            yield field.full_name, "the pieces of an upload have max_bytes in all"


def _unbounded_value(field: FieldDescriptor, rule: FieldRule) -> str | None:
    if field.type == FieldDescriptor.TYPE_STRING:
        bounded = rule.max_length or rule.format is not Format.ANY
        return None if bounded else "a string of a request has a max_length or a format"
    if field.type == FieldDescriptor.TYPE_BYTES:
        return None if rule.max_length else "bytes of a request have a max_length"
    if field.message_type is None:
        return None
    kind = field.message_type.full_name
    if kind in BOUNDED_BY_BYTES:
        return None if rule.max_bytes else f"a {kind} in a request has max_bytes"
    if kind.startswith("flownurture.") or kind in BOUNDED_BY_THEMSELVES:
        return None
    return f"nothing bounds a {kind} in a request"


def _routes_that_collide(methods: Iterable[MethodDescriptor]) -> Iterator[Finding]:
    taken: dict[str, str] = {}
    for method in methods:
        route = route_of(method)
        if route is None:
            continue
        first = taken.setdefault(route.shape, method.full_name)
        if first != method.full_name:
            file = method.containing_service.file.name
            yield Finding(file, method.full_name, f"a route is one RPC's: {first} has {route.shape}")


def _events(files: Iterable[FileDescriptor]) -> Iterator[Finding]:
    """Every message of an events.proto that is no part of another one is an event; nothing else is."""
    taken: dict[str, str] = {}
    for file in files:
        messages = list(file.message_types_by_name.values())
        parts = {inner.full_name for message in messages for inner in _parts(message)}
        for message in messages:
            subject = message.GetOptions().Extensions[event_pb2.subject]
            for broken in _subject(file, message, subject, is_part=message.full_name in parts):
                yield Finding(file.name, message.full_name, broken)
            for field in message.fields if file.name.endswith("/events.proto") else ():
                if ORGANIZATION_NAMES.fullmatch(field.name):
                    yield Finding(file.name, field.full_name, "whose an event is stands in its envelope")
            if subject and taken.setdefault(subject, message.full_name) != message.full_name:
                yield Finding(
                    file.name, message.full_name, f"a subject is one event's: {taken[subject]} has it"
                )


def _parts(message: Descriptor) -> Iterator[Descriptor]:
    for field in message.fields:
        inner = _message_within(field)
        if inner is not None and inner.full_name != message.full_name:
            yield inner


def _subject(file: FileDescriptor, message: Descriptor, subject: str, *, is_part: bool) -> Iterator[str]:
    of_events = file.name.endswith("/events.proto")
    if not subject:
        if of_events and not is_part:
            yield "an event has a subject"
        return
    if not of_events:
        yield "events stand in events.proto"
    domain = file.package.split(".")[1]
    fact = re.sub(r"(?<!^)(?=[A-Z])", "_", message.name).lower()
    if subject not in (f"flownurture.{domain}.{fact}", f"flownurture.{domain}.work.{fact}"):
        yield f"a subject is flownurture.{domain}.{fact}, or flownurture.{domain}.work.{fact} for an order"
