"""Routes: what the contract says, without ambiguity, and never a route to what is internal."""

from dataclasses import dataclass

import pytest
from google.api import annotations_pb2
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import MethodDescriptor
from hypothesis import given
from hypothesis import strategies as st

from chassis.contract.access import AccessMissing, Audience
from chassis.errors import NotFound
from flownurture.options.v1 import access_pb2
from gateway.endpoints import ContractError, contract_files, endpoints_of, public_endpoints
from gateway.problems import MethodNotAllowed
from gateway.routing import Router
from gateway.templates import Template

ROUTER = Router(public_endpoints())
SEGMENTS = st.lists(st.sampled_from(["v1", "contacts", "lists", "imports", "a", "", "%2F", ".."]), max_size=7)


@dataclass(frozen=True)
class Target:
    verb: str
    template: Template


def _targets(*routes: str) -> list[Target]:
    return [Target(route.split(" ")[0], Template.parse(route.split(" ")[1])) for route in routes]


def _rpc(access: access_pb2.Access | None, path: str, body: str = "") -> MethodDescriptor:
    """An RPC of a contract made for this test."""
    file = descriptor_pb2.FileDescriptorProto(
        name="probe.proto", package="flownurture.probe.v1", syntax="proto3"
    )
    message = file.message_type.add(name="Thing")
    message.field.add(name="id", number=1, type="TYPE_STRING", label="LABEL_OPTIONAL")
    thing = ".flownurture.probe.v1.Thing"
    method = file.service.add(name="ThingService").method.add(
        name="GetThing", input_type=thing, output_type=thing
    )
    if path:
        rule = method.options.Extensions[annotations_pb2.http]
        rule.get, rule.body = path, body
    if access is not None:
        method.options.Extensions[access_pb2.access].CopyFrom(access)
    pool = descriptor_pool.DescriptorPool()
    for each in ("google/protobuf/descriptor.proto",):
        pool.AddSerializedFile(descriptor_pool.Default().FindFileByName(each).serialized_pb)
    pool.Add(file)
    found: MethodDescriptor = pool.FindServiceByName("flownurture.probe.v1.ThingService").methods[0]
    return found


TENANT = access_pb2.Access(audience=access_pb2.AUDIENCE_TENANT)


def test_every_public_rpc_of_the_contract_has_a_route_and_no_internal_one() -> None:
    routed = {endpoint.rpc.full_name for endpoint in public_endpoints()}
    for file in contract_files():
        for service in file.services_by_name.values():
            for rpc in service.methods:
                audience = rpc.GetOptions().Extensions[access_pb2.access].audience
                internal = audience == access_pb2.AUDIENCE_INTERNAL
                assert (rpc.full_name in routed) is not internal


@pytest.mark.parametrize("endpoint", public_endpoints(), ids=lambda endpoint: str(endpoint.rpc.name))
def test_each_endpoint_is_found_by_its_own_path(endpoint: object) -> None:
    template = endpoint.template  # type: ignore[attr-defined]
    path = "/" + "/".join("x-1" if segment is None else segment for segment in template.segments)
    found, variables = ROUTER.match(endpoint.verb, path)  # type: ignore[attr-defined]
    assert found == endpoint
    assert variables == dict.fromkeys(template.variables, "x-1")


@given(SEGMENTS, st.sampled_from(["GET", "POST", "DELETE", "TRACE", ""]))
def test_any_path_is_found_or_refused(segments: list[str], verb: str) -> None:
    try:
        endpoint, variables = ROUTER.match(verb, "/" + "/".join(segments))
    except (NotFound, MethodNotAllowed):
        return
    values = iter(variables.values())
    assert segments == [next(values) if each is None else each for each in endpoint.template.segments]


def test_a_literal_wins_and_gives_way_where_it_leads_nowhere() -> None:
    router = Router(_targets("GET /a/{x}", "GET /a/b", "GET /a/{x}/c", "GET /a/b/d"))
    assert router.match("GET", "/a/b")[0].template.text == "/a/b"
    assert router.match("GET", "/a/b/c") == (_targets("GET /a/{x}/c")[0], {"x": "b"})
    assert router.match("GET", "/a/z") == (_targets("GET /a/{x}")[0], {"x": "z"})


def test_two_endpoints_at_one_place_are_refused() -> None:
    with pytest.raises(ValueError, match=r"two endpoints answer GET /a/\{y\}"):
        Router(_targets("GET /a/{x}", "GET /a/{y}"))


@pytest.mark.parametrize(
    "text", ["a", "/", "/a//b", "/a/{x=**}", "/a/{x}/{x}", "/a/{x.y}", "/a/*", "/a/{x}:go"]
)
def test_a_template_that_is_not_understood_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"template|twice"):
        Template.parse(text)


def test_an_rpc_without_access_is_refused_by_name() -> None:
    with pytest.raises(AccessMissing, match=r"ThingService\.GetThing has no access option"):
        list(endpoints_of(_rpc(None, "/v1/things/{id}")))


@pytest.mark.parametrize(
    ("access", "path"),
    [
        (access_pb2.Access(audience=access_pb2.AUDIENCE_INTERNAL, callers=["sending"]), "/v1/things"),
        (access_pb2.Access(audience=access_pb2.AUDIENCE_PLATFORM), "/v1/things"),
        (TENANT, "/v1/admin/things"),
        (TENANT, "/v1/things/{name}"),
    ],
)
def test_a_route_that_does_not_fit_is_refused_by_name(access: access_pb2.Access, path: str) -> None:
    with pytest.raises(ContractError, match=r"ThingService\.GetThing"):
        list(endpoints_of(_rpc(access, path)))


def test_an_rpc_without_a_route_is_not_public() -> None:
    assert list(endpoints_of(_rpc(TENANT, ""))) == []
    assert [each.access.audience for each in endpoints_of(_rpc(TENANT, "/v1/things/{id}"))] == [
        Audience.TENANT
    ]
