"""The lint of the contract: each rule finds what breaks it, by file, symbol and rule, and nothing in what is well."""

from collections.abc import Callable
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from grpc_tools import protoc

from proto.generate import GOOGLE_APIS, SOURCE, WELL_KNOWN_TYPES
from proto.house_rules import findings
from proto.lint import compile_image, house_files

HEAD = """
syntax = "proto3";
package flownurture.trial.v1;
import "google/api/annotations.proto";
import "google/api/httpbody.proto";
import "google/protobuf/any.proto";
import "google/protobuf/timestamp.proto";
import "flownurture/options/v1/access.proto";
import "flownurture/options/v1/event.proto";
import "flownurture/options/v1/field.proto";
"""
ID = "string id = 1 [(flownurture.options.v1.field) = { required: true format: FORMAT_UUID }];"
GET = 'get: "/v1/things/{id}"'
READ = 'audience: AUDIENCE_TENANT role: ROLE_MEMBER scope: "things:read"'

# Compiles the text of a proto and gives the lines of the lint about it.
Lint = Callable[..., list[str]]


@pytest.fixture
def lint(tmp_path: Path) -> Lint:
    def judge(text: str, name: str = "things.proto") -> list[str]:
        source = tmp_path / "flownurture/trial/v1" / name
        source.parent.mkdir(parents=True)
        source.write_text(HEAD + text)
        image = tmp_path / "image.binpb"
        includes = [f"-I{folder}" for folder in (tmp_path, SOURCE, GOOGLE_APIS, WELL_KNOWN_TYPES)]
        assert protoc.main(["protoc", *includes, f"-o{image}", "--include_imports", str(source)]) == 0
        files = house_files(FileDescriptorSet.FromString(image.read_bytes()))
        return [str(finding) for finding in findings(files)]

    return judge


def rpc(http: str = GET, access: str = READ, request: str = ID, name: str = "GetThing") -> str:
    """A service with one RPC; an empty http or access leaves that option away."""
    route = f"option (google.api.http) = {{ {http} }};" if http else ""
    rule = f"option (flownurture.options.v1.access) = {{ {access} }};" if access else ""
    return (
        f"service ThingService {{ rpc {name}({name}Request) returns (Thing) {{ {route} {rule} }} }}\n"
        f"message {name}Request {{ {request} }}\nmessage Thing {{ string id = 1; }}\n"
    )


def test_the_contract_of_the_house_breaks_no_rule(tmp_path: Path) -> None:
    compile_image(tmp_path / "image.binpb")
    files = house_files(FileDescriptorSet.FromString((tmp_path / "image.binpb").read_bytes()))
    assert sum(len(service.methods) for file in files for service in file.services_by_name.values()) > 20
    assert findings(files) == []


def test_a_workflow_s_document_may_stand_in_a_request(lint: Lint) -> None:
    imported = 'import "flownurture/sending/v1/workflows.proto";\n'
    assert lint(imported + rpc(request=f"{ID} flownurture.sending.v1.WorkflowDocument document = 2;")) == []


def test_an_rpc_that_is_well_gives_no_finding(lint: Lint) -> None:
    assert lint(rpc()) == []


def test_a_finding_names_file_symbol_and_rule(lint: Lint) -> None:
    (line,) = lint(rpc(access=""))
    assert line == (
        "flownurture/trial/v1/things.proto: flownurture.trial.v1.ThingService.GetThing: every RPC says who may call it"
        " (flownurture.trial.v1.ThingService.GetThing has no access option)"
    )


@pytest.mark.parametrize(
    ("http", "access", "rule"),
    [
        ("", READ, "a TENANT RPC has a route"),
        ("", "audience: AUDIENCE_PUBLIC", "a PUBLIC RPC has a route"),
        ("", "audience: AUDIENCE_ACCOUNT", "a ACCOUNT RPC has a route"),
        (GET, "role: ROLE_MEMBER", "every RPC says who may call it"),
        (GET, "audience: AUDIENCE_TENANT", "a TENANT RPC takes ROLE_MEMBER or ROLE_ORG_ADMIN"),
        (GET, "audience: AUDIENCE_TENANT role: ROLE_SUPER_ADMIN", "takes ROLE_MEMBER or ROLE_ORG_ADMIN"),
        (GET, READ.replace("things:read", "things"), "a scope is <resource>:read or <resource>:write"),
        (GET, READ.replace("things:read", "things:write"), "a GET takes a scope that reads"),
        ('post: "/v1/things/{id}" body: "*"', READ, "everything else one that writes"),
        (GET, f'{READ} callers: "gateway"', "callers are named by INTERNAL RPCs alone"),
        (GET, 'audience: AUDIENCE_INTERNAL callers: "sending"', "an INTERNAL RPC has no route"),
        ("", "audience: AUDIENCE_INTERNAL", "is internal and names no callers"),
        ("", 'audience: AUDIENCE_INTERNAL callers: "stranger"', "which 'stranger' is not"),
        (
            "",
            'audience: AUDIENCE_INTERNAL role: ROLE_MEMBER callers: "sending"',
            "a INTERNAL RPC asks for no role",
        ),
        (GET, "audience: AUDIENCE_PLATFORM role: ROLE_SUPER_ADMIN", "they alone, stand under /v1/admin/"),
        ('get: "/v1/admin/things/{id}"', READ, "they alone, stand under /v1/admin/"),
        (
            'get: "/v1/admin/things/{id}"',
            "audience: AUDIENCE_PLATFORM",
            "a PLATFORM RPC takes ROLE_SUPER_ADMIN",
        ),
        (GET, 'audience: AUDIENCE_PUBLIC scope: "things:read"', "belong to TENANT RPCs alone"),
        (GET, 'audience: AUDIENCE_ACCOUNT feature: "things"', "belong to TENANT RPCs alone"),
        (GET, "audience: AUDIENCE_PUBLIC role: ROLE_MEMBER", "a PUBLIC RPC asks for no role"),
    ],
)
def test_an_access_option_that_makes_no_sense_is_found(lint: Lint, http: str, access: str, rule: str) -> None:
    assert any(rule in line for line in lint(rpc(http, access)))


@pytest.mark.parametrize(
    ("http", "rule"),
    [
        ('get: "/v1/things/{thing_id}"', "the variable {thing_id} of the path is a field of GetThingRequest"),
        (f'{GET} body: "*"', "a GET has no body"),
        ('put: "/v1/things/{id}"', "a PUT has a body"),
        ('put: "/v1/things/{id}" body: "thing"', "the body 'thing' is a field of GetThingRequest"),
    ],
)
def test_a_route_that_does_not_fit_its_request_is_found(lint: Lint, http: str, rule: str) -> None:
    assert any(rule in line for line in lint(rpc(http)))


def test_two_rpcs_whose_routes_differ_in_the_name_of_a_variable_alone_are_found(lint: Lint) -> None:
    access = f"option (flownurture.options.v1.access) = {{ {READ} }};"
    lines = lint(
        f"""
        service ThingService {{
          rpc GetThing(Id) returns (Id) {{ option (google.api.http) = {{ get: "/v1/things/{{id}}" }}; {access} }}
          rpc FindThing(Id) returns (Id) {{ option (google.api.http) = {{ get: "/v1/things/{{no}}" }}; {access} }}
        }}
        message Id {{ {ID} string no = 2 [(flownurture.options.v1.field) = {{ format: FORMAT_UUID }}]; }}
        """
    )
    assert len(lines) == 1
    assert "FindThing: a route is one RPC's: flownurture.trial.v1.ThingService.GetThing has GET" in lines[0]


@pytest.mark.parametrize("name", ["organization_id", "organization", "org_id", "tenant_ids", "workspace_id"])
@pytest.mark.parametrize("audience", [READ, "audience: AUDIENCE_ACCOUNT", "audience: AUDIENCE_PUBLIC"])
def test_a_request_that_names_an_organization_is_found_however_deep(
    lint: Lint, name: str, audience: str
) -> None:
    inner = f"Part part = 2; message Part {{ repeated Whole wholes = 1 {bound('max_items: 3')}; }}"
    whole = f"message Whole {{ string {name} = 1 {bound('format: FORMAT_UUID')}; }}"
    lines = lint(rpc(access=audience, request=ID + inner) + whole)
    assert len(lines) == 1
    assert f"flownurture.trial.v1.Whole.{name}: the organization is never an argument" in lines[0]


def test_an_operator_may_name_an_organization_and_a_sign_up_may_name_its_own(lint: Lint) -> None:
    organization = f"string organization_id = 1 {bound('format: FORMAT_UUID')};"
    admin = "audience: AUDIENCE_PLATFORM role: ROLE_SUPER_ADMIN"
    named = rpc('get: "/v1/admin/organizations/{organization_id}"', admin, organization)
    signing_up = f"message SignUp {{ string organization_name = 1 {bound('max_length: 9')}; }}"
    assert lint(named + signing_up) == []


def bound(rule: str) -> str:
    """The option of a field."""
    return f"[(flownurture.options.v1.field) = {{ {rule} }}]"


@pytest.mark.parametrize(
    ("field", "rule"),
    [
        ("string name = 2;", "a string of a request has a max_length or a format"),
        (f"string name = 2 {bound('required: true')};", "a string of a request has a max_length or a format"),
        ("bytes name = 2;", "bytes of a request have a max_length"),
        ("repeated uint32 name = 2;", "what a request may repeat has max_items"),
        (f"repeated string name = 2 {bound('max_items: 3')};", "a string of a request has a max_length"),
        (f"map<string, string> name = 2 {bound('max_items: 3')};", "a string of a request has a max_length"),
        (
            f"map<string, string> name = 2 {bound('max_length: 3')};",
            "what a request may repeat has max_items",
        ),
        ("google.api.HttpBody name = 2;", "a google.api.HttpBody in a request has max_bytes"),
        ("google.protobuf.Any name = 2;", "nothing bounds a google.protobuf.Any in a request"),
        ("Thing name = 2;", "Thing.id: a string of a request has a max_length or a format"),
    ],
)
def test_a_field_that_nothing_bounds_is_found(lint: Lint, field: str, rule: str) -> None:
    assert any(rule in line for line in lint(rpc(request=ID + field)))


@pytest.mark.parametrize(
    "field",
    [
        "uint64 name = 2; bool really = 3; google.protobuf.Timestamp at = 4;",
        f"optional string name = 2 {bound('max_length: 3')};",
        f"bytes name = 2 {bound('max_length: 3')};",
        f"map<string, string> name = 2 {bound('max_items: 3 max_length: 3')};",
        f"google.api.HttpBody name = 2 {bound('max_bytes: 3')};",
        "GetThingRequest name = 2;",
    ],
)
def test_a_field_that_is_bounded_gives_no_finding(lint: Lint, field: str) -> None:
    assert lint(rpc(request=ID + field)) == []


POST = 'post: "/v1/things/{id}" body: "*"'
PUBLIC = "audience: AUDIENCE_PUBLIC"


def from_header(name: str, rule: str = "max_length: 99", kind: str = "string") -> str:
    """A field that a header fills."""
    option = bound(f'from_header: "{name}" {rule}')
    return f"{kind} told = 2 {option};"


@pytest.mark.parametrize(
    ("field", "rule"),
    [
        (from_header("x-sign", rule=""), "a header fills a single string with a max_length"),
        (from_header("x-sign", kind="bytes"), "a header fills a single string with a max_length"),
        (from_header("x-sign", "max_length: 9 max_items: 9", "repeated string"), "a header fills a single"),
        (from_header("X-Sign"), "a header has a name in lower case"),
        (from_header("x sign"), "a header has a name in lower case"),
        (
            from_header("x-sign") + from_header("x-sign").replace("told = 2", "again = 3"),
            "and fills one field",
        ),
        (from_header("host"), "the header host is the gateway's own business"),
        (from_header("x-forwarded-for"), "the header x-forwarded-for is the gateway's own business"),
        (from_header("idempotency-key"), "the header idempotency-key is the gateway's own business"),
        (
            f"Part part = 2; message Part {{ {from_header('x-sign')} }}",
            "a header fills a field of the request",
        ),
    ],
)
def test_a_header_that_no_service_may_have_or_that_nothing_bounds_is_found(
    lint: Lint, field: str, rule: str
) -> None:
    assert any(rule in line for line in lint(rpc(POST, PUBLIC, ID + field)))


def test_what_a_header_fills_nothing_else_does(lint: Lint) -> None:
    in_path = ID.replace("required: true", 'required: true from_header: "x-id" max_length: 9')
    assert any("neither path nor body" in line for line in lint(rpc(request=in_path)))


@pytest.mark.parametrize(
    "access",
    [READ.replace(":read", ":write"), "audience: AUDIENCE_ACCOUNT", PUBLIC],
    ids=["tenant", "account", "public"],
)
def test_the_credential_of_a_client_goes_no_further_than_the_gateway(lint: Lint, access: str) -> None:
    lines = lint(rpc(POST, access, ID + from_header("authorization")))
    refused = [line for line in lines if "a client's credential goes no further" in line]
    assert lines == refused
    assert bool(refused) == (access != PUBLIC)


def test_an_upload_without_a_most_size_is_found(lint: Lint) -> None:
    chunk = f"bytes chunk = 1 {bound('max_length: 3')};"
    upload = rpc('post: "/v1/things" body: "*"', READ.replace("read", "write"), chunk)
    streamed = upload.replace("(GetThingRequest)", "(stream GetThingRequest)")
    assert lint(streamed) == [
        "flownurture/trial/v1/things.proto: flownurture.trial.v1.GetThingRequest.chunk:"
        " the pieces of an upload have max_bytes in all"
    ]


def test_a_list_without_pages_is_found(lint: Lint) -> None:
    lines = lint(rpc('get: "/v1/things"', request="uint32 page_size = 1;", name="ListThings"))
    assert [line.split(": ")[-1] for line in lines] == [
        "a List RPC answers with a next_page_token",
        "a List RPC has a page_size with a max",
        "a List RPC has a page_token of FORMAT_PAGE_TOKEN",
    ]


def event(subject: str, name: str = "ThingFound") -> str:
    """An event type; an empty subject leaves the option away."""
    option = f'option (flownurture.options.v1.subject) = "{subject}";' if subject else ""
    return f"message {name} {{ {option} string id = 1; }}\n"


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (event(""), "an event has a subject"),
        (event("flownurture.sending.thing_found"), "a subject is flownurture.trial.thing_found, or"),
        (event("flownurture.trial.thing_lost"), "a subject is flownurture.trial.thing_found, or"),
        (
            event("flownurture.trial.thing_found") + event("flownurture.trial.thing_found", "Twice"),
            "one event's",
        ),
        (
            event("flownurture.trial.thing_found").replace("string id", "string organization_id"),
            "whose an event is stands in its envelope",
        ),
    ],
)
def test_an_event_without_a_subject_of_its_own_is_found(lint: Lint, text: str, rule: str) -> None:
    assert any(rule in line for line in lint(text, "events.proto"))


def test_facts_and_orders_and_the_parts_of_events_give_no_finding(lint: Lint) -> None:
    parts = "message Part { string id = 1; }\n"
    order = event("flownurture.trial.work.find_thing", "FindThing")
    fact = event("flownurture.trial.thing_found").replace("string id = 1;", "repeated Part parts = 1;")
    assert lint(parts + order + fact, "events.proto") == []


def test_an_event_outside_of_the_events_file_is_found(lint: Lint) -> None:
    (line,) = lint(event("flownurture.trial.thing_found"))
    assert line.endswith("events stand in events.proto")


def test_what_is_told_bit_by_bit_ends_with_one_of_its_events(lint: Lint) -> None:
    told = (
        'service ThingService { rpc MakeThing(MakeThingRequest) returns (stream Event) { option (google.api.http) = { post: "/v1/things" body: "*" };'
        ' option (flownurture.options.v1.access) = { audience: AUDIENCE_TENANT role: ROLE_MEMBER scope: "things:write" };'
        ' option (flownurture.options.v1.result) = "thing"; } }'
        f" message MakeThingRequest {{ {ID} }} message Thing {{ string id = 1; }}"
    )
    right = "message Event { oneof event { Thing piece = 1; Thing thing = 2; } }"
    assert lint(told + right) == []


@pytest.mark.parametrize(
    "event",
    [
        "message Event { oneof event { Thing piece = 1; } }",
        "message Event { Thing thing = 1; }",
        "message Event { oneof event { Thing thing = 1; string piece = 2; } }",
    ],
)
def test_what_is_told_bit_by_bit_without_an_end_is_found(lint: Lint, event: str) -> None:
    told = rpc('post: "/v1/things" body: "*"', READ.replace(":read", ":write"), name="MakeThing")
    told = told.replace(
        "returns (Thing) {", 'returns (stream Event) { option (flownurture.options.v1.result) = "thing";'
    )
    (found,) = lint(told + event)
    assert "an RPC with a result" in found


@pytest.mark.parametrize(
    ("http", "access", "name"),
    [
        (
            'post: "/v1/things" body: "*"',
            'audience: AUDIENCE_TENANT role: ROLE_MEMBER delegates: "integrations"',
            "CreateThing",
        ),
        (GET, READ + ' delegates: "nobody"', "GetThing"),
        ("", 'audience: AUDIENCE_INTERNAL callers: "sending" delegates: "integrations"', "GetThing"),
    ],
)
def test_nobody_changes_anything_for_somebody_else(lint: Lint, http: str, access: str, name: str) -> None:
    assert any("delegates" in found or "delegate is" in found for found in lint(rpc(http, access, name=name)))


def test_what_reads_may_be_read_for_somebody(lint: Lint) -> None:
    assert lint(rpc(GET, READ + ' delegates: "integrations"')) == []
