"""The public endpoints, read from the contract: every RPC with a `google.api.http` option that is not internal."""

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from google.api import annotations_pb2, httpbody_pb2
from google.api.http_pb2 import HttpRule
from google.protobuf.descriptor import Descriptor, FileDescriptor, MethodDescriptor

import flownurture
from chassis.contract.access import AccessRule, Audience
from chassis.contract.rules import rule_of
from flownurture.options.v1 import access_pb2
from flownurture.web.v1 import redirect_pb2
from gateway.templates import Template

_HTTP_BODY = httpbody_pb2.HttpBody.DESCRIPTOR.full_name
_REDIRECT = redirect_pb2.Redirect.DESCRIPTOR.full_name
_ADMIN_PREFIX = "/v1/admin/"
AUTHORIZATION = "authorization"


class ContractError(Exception):
    """The contract asks for a route that cannot be; the gateway refuses to start."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One RPC as HTTP serves it."""

    rpc: MethodDescriptor
    verb: str
    template: Template
    # The field that the body fills; "*" for all that the path leaves, "" for none.
    body: str
    access: AccessRule
    success_status: int

    @property
    def domain(self) -> str:
        """The process that answers: the second word of the RPC's package."""
        name: str = self.rpc.containing_service.file.package.split(".")[1]
        return name

    @property
    def rpc_path(self) -> str:
        """The RPC as gRPC names it."""
        return f"/{self.rpc.containing_service.full_name}/{self.rpc.name}"

    @property
    def is_upload(self) -> bool:
        """Whether the request is a stream, so on HTTP a multipart upload."""
        return bool(self.rpc.client_streaming)

    @property
    def download(self) -> str:
        """The name of the file that is the answer; "" when it is no file."""
        name: str = self.rpc.GetOptions().Extensions[access_pb2.download]
        return name

    @property
    def result(self) -> str:
        """The member that the last message of the answer has; "" when the answer is one message."""
        name: str = self.rpc.GetOptions().Extensions[access_pb2.result]
        return name

    @property
    def answer_type(self) -> Descriptor:
        """The message that a client is answered with which takes one answer."""
        message: Descriptor = self.rpc.output_type
        result = message.fields_by_name[self.result].message_type if self.result else None
        return result or message

    @property
    def body_is_raw(self) -> bool:
        """Whether the body goes to the service as it is."""
        return self.body not in {"", "*"} and _is_http_body(
            self.rpc.input_type.fields_by_name[self.body].message_type
        )

    @property
    def answer_is_raw(self) -> bool:
        """Whether the service writes the answer's bytes itself: a page, a key set."""
        return _is_http_body(self.rpc.output_type)

    @property
    def answer_is_redirect(self) -> bool:
        """Whether the client is sent elsewhere."""
        name: str = self.rpc.output_type.full_name
        return name == _REDIRECT

    @property
    def headers(self) -> dict[str, str]:
        """The fields that request headers fill, by name, and the header of each."""
        return {
            field.name: rule_of(field).from_header
            for field in self.rpc.input_type.fields
            if rule_of(field).from_header
        }

    @property
    def filled_elsewhere(self) -> frozenset[str]:
        """The fields that a body of all fields may not name: the path or a header fills them."""
        return frozenset(self.template.variables) | frozenset(self.headers)

    @property
    def query_fields(self) -> frozenset[str]:
        """The fields that the query may name: those that neither path nor header nor body takes."""
        if self.body == "*":
            return frozenset()
        return frozenset(self.rpc.input_type.fields_by_name) - self.filled_elsewhere - {self.body}


def _is_http_body(message: Descriptor | None) -> bool:
    return message is not None and message.full_name == _HTTP_BODY


@cache
def contract_files() -> tuple[FileDescriptor, ...]:
    """Every file of the contract, found in the tree of generated packages and imported."""
    # A set, since a namespace package may have the same folder twice in its path.
    modules = {
        ".".join(("flownurture", *path.relative_to(root).with_suffix("").parts))
        for root in flownurture.__path__
        for path in Path(root).glob("*/v*/*_pb2.py")
    }
    return tuple(importlib.import_module(module).DESCRIPTOR for module in sorted(modules))


def public_endpoints() -> list[Endpoint]:
    """The endpoints of the whole contract. Raises AccessMissing or ContractError, naming the RPC."""
    return [
        endpoint
        for file in contract_files()
        for service in file.services_by_name.values()
        for rpc in service.methods
        for endpoint in endpoints_of(rpc)
    ]


def endpoints_of(rpc: MethodDescriptor) -> Iterator[Endpoint]:
    """The endpoints of one RPC: one, none, or several if it has additional bindings."""
    options = rpc.GetOptions()
    access = AccessRule.of(rpc)
    if not options.HasExtension(annotations_pb2.http):
        return
    if access.audience is Audience.INTERNAL:
        raise ContractError(f"{rpc.full_name} is internal and must not have a route")
    first: HttpRule = options.Extensions[annotations_pb2.http]
    is_file = _is_http_body(rpc.output_type) and options.Extensions[access_pb2.download]
    if rpc.server_streaming and not is_file and not options.Extensions[access_pb2.result]:
        raise ContractError(f"{rpc.full_name} streams what is neither a file nor events")
    status = options.Extensions[access_pb2.success_status] or _usual_status(rpc)
    for rule in (first, *first.additional_bindings):
        pattern = rule.WhichOneof("pattern")
        template = Template.parse(getattr(rule, pattern)) if pattern not in {None, "custom"} else None
        if template is None or template.text.startswith(_ADMIN_PREFIX) != (
            access.audience is Audience.PLATFORM
        ):
            raise ContractError(f"{rpc.full_name} has a route that does not fit its audience")
        if missing := {*template.variables, *rule.body.strip("*").split()} - set(
            rpc.input_type.fields_by_name
        ):
            raise ContractError(f"{rpc.full_name} has no request field {', '.join(sorted(missing))}")
        endpoint = Endpoint(rpc, str(pattern).upper(), template, rule.body, access, status)
        if AUTHORIZATION in endpoint.headers.values() and access.audience is not Audience.PUBLIC:
            # What a client proves itself to the gateway with goes no further.
            raise ContractError(f"{rpc.full_name} is not public and asks for a client's credential")
        yield endpoint


def _usual_status(rpc: MethodDescriptor) -> int:
    if rpc.output_type.full_name == _REDIRECT:
        return 302
    if rpc.name.startswith("Create"):
        return 201
    return 204 if rpc.name.startswith("Delete") else 200
